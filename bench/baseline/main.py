# mypy: ignore-errors
# ruff: noqa: ANN201, B008 - it is written as the tutorials of its framework have it
"""The service that people would write instead: FastAPI and SQLModel, as in their tutorials.

It stands on its own and needs none of this project. Nobody is asked who they are.
"""

import os
import uuid
from datetime import UTC, datetime

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy import JSON, Column, DateTime, Index
from sqlmodel import Field, Session, SQLModel, create_engine, select

# Per worker process; the server runs at most 40 sync endpoints at once.
engine = create_engine(
    os.environ["BASELINE_DATABASE_URL"], pool_size=20, max_overflow=20, pool_pre_ping=True
)


def now() -> datetime:
    return datetime.now(UTC)


class ConversationBase(SQLModel):
    user_id: int
    title: str = "New Chat"
    model_used: str = ""


class Conversation(ConversationBase, table=True):
    __table_args__ = (Index("conversation_user_updated", "user_id", "updated_at"),)

    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    meta: dict = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class ConversationPublic(ConversationBase):
    id: uuid.UUID
    meta: dict
    created_at: datetime
    updated_at: datetime


class ConversationCreate(SQLModel):
    user_id: int
    title: str = "New Chat"


class MessageCreate(SQLModel):
    role: str
    content: str
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    meta: dict = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Message(MessageCreate, table=True):
    __table_args__ = (Index("message_conversation_created", "conversation_id", "created_at"),)

    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    conversation_id: uuid.UUID = Field(foreign_key="conversation.id")
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class MessagePublic(MessageCreate):
    id: uuid.UUID
    conversation_id: uuid.UUID
    created_at: datetime


class ConversationDetail(ConversationPublic):
    messages: list[MessagePublic]


def get_session():
    with Session(engine) as session:
        yield session


app = FastAPI()


@app.get("/readyz")
def readyz(session: Session = Depends(get_session)):
    return {"found": session.exec(select(Conversation.id).limit(1)).first() is not None}


@app.post("/conversations", response_model=ConversationPublic, status_code=201)
def create_conversation(body: ConversationCreate, session: Session = Depends(get_session)):
    conversation = Conversation(**body.model_dump())
    session.add(conversation)
    session.commit()
    session.refresh(conversation)
    return conversation


@app.get("/conversations/{conversation_id}", response_model=ConversationDetail)
def get_conversation(conversation_id: uuid.UUID, session: Session = Depends(get_session)):
    conversation = session.get(Conversation, conversation_id)
    if conversation is None:
        raise HTTPException(status_code=404, detail="No such conversation")
    messages = session.exec(
        select(Message)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.created_at)
        .limit(1000)
    ).all()
    return {**conversation.model_dump(), "messages": messages}


@app.post(
    "/conversations/{conversation_id}/messages/bulk",
    response_model=list[MessagePublic],
    status_code=201,
)
def append_messages(
    conversation_id: uuid.UUID, body: list[MessageCreate], session: Session = Depends(get_session)
):
    conversation = session.get(Conversation, conversation_id)
    if conversation is None:
        raise HTTPException(status_code=404, detail="No such conversation")
    # Read before the commit, which would load each of them again.
    messages = [Message(conversation_id=conversation_id, **one.model_dump()) for one in body]
    public = [MessagePublic(**message.model_dump()) for message in messages]
    conversation.updated_at = now()
    session.add_all(messages)
    session.add(conversation)
    session.commit()
    return public


@app.post(
    "/conversations/{conversation_id}/messages", response_model=MessagePublic, status_code=201
)
def append_message(
    conversation_id: uuid.UUID, body: MessageCreate, session: Session = Depends(get_session)
):
    conversation = session.get(Conversation, conversation_id)
    if conversation is None:
        raise HTTPException(status_code=404, detail="No such conversation")
    message = Message(conversation_id=conversation_id, **body.model_dump())
    conversation.updated_at = now()
    session.add(message)
    session.add(conversation)
    session.commit()
    session.refresh(message)
    return message


@app.get("/conversations/{conversation_id}/messages", response_model=list[MessagePublic])
def list_messages(
    conversation_id: uuid.UUID,
    offset: int = Query(default=0, ge=0),
    limit: int = Query(default=50, ge=1, le=200),
    session: Session = Depends(get_session),
):
    return session.exec(
        select(Message)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.created_at)
        .offset(offset)
        .limit(limit)
    ).all()


@app.get("/users/{user_id}/conversations", response_model=list[ConversationPublic])
def list_conversations(
    user_id: int,
    offset: int = Query(default=0, ge=0),
    limit: int = Query(default=50, ge=1, le=200),
    session: Session = Depends(get_session),
):
    return session.exec(
        select(Conversation)
        .where(Conversation.user_id == user_id)
        .order_by(Conversation.updated_at.desc())
        .offset(offset)
        .limit(limit)
    ).all()


@app.get("/users/{user_id}/search", response_model=list[MessagePublic])
def search_messages(
    user_id: int,
    q: str,
    limit: int = Query(default=20, ge=1, le=200),
    session: Session = Depends(get_session),
):
    return session.exec(
        select(Message)
        .join(Conversation)
        .where(Conversation.user_id == user_id, Message.content.icontains(q))
        .order_by(Message.created_at.desc())
        .limit(limit)
    ).all()


if __name__ == "__main__":
    SQLModel.metadata.create_all(engine)
