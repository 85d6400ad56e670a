"""What surrounds the question: modes, retrieved sources, and how they are told."""

import pytest

from conversations.chat.llm.qdrant import QdrantRetriever
from conversations.chat.llm.retrieval import RetrievedSource, _retriever
from conversations.tests.chat.clients import names_of
from conversations.tests.chat.scripted_behaviours import Call, breaks, calls, says, says_json
from conversations.tests.chat.scripted_provider import structured, vector_of

TEXTS = [
    "A refund takes five days to arrive.",
    "The office is closed on Sundays.",
    "Passwords are reset in the settings.",
]


class Broken:
    async def retrieve(self, question):
        raise RuntimeError("secret")


class Fixed:
    async def retrieve(self, question):
        return [
            RetrievedSource(id="1", text="The answer is\x00 42.", score=0.5, metadata={"page": 7})
        ]


@pytest.fixture
def modes(settings):
    settings.CHAT_MODES = {"support": "problems with the product", "sales": ""}


def test_the_model_picks_a_mode(chat, scripted, modes):
    scripted.when(structured, says_json({"mode": "support"})).script(says("Hello."))
    events = list(chat.stream("It is broken"))
    assert names_of(events) == ["start", "mode", "delta", "done"]
    assert events[1].data == {"mode": "support"}
    assert events[-1].data["detected_mode"] == "support"
    stored = chat.messages(events[-1].data["conversation_id"])[1]
    assert stored["detected_mode"] == "support"
    asked = next(one for one in scripted.chats if structured(one))
    assert "- support: problems with the product" in asked.messages[0][1]


@pytest.mark.parametrize(
    "behaviour", [says_json({"mode": "poetry"}), says("Not JSON"), breaks(), says_json([1])]
)
def test_no_mode_does_not_cost_the_answer(chat, scripted, modes, behaviour):
    scripted.when(structured, behaviour).script(says("Hello."))
    answer = chat.ask()
    assert (answer.status, answer.body["detected_mode"]) == (200, None)


def test_sources_are_told_stored_and_given_to_the_model(chat, scripted, settings, modes):
    settings.CHAT_RETRIEVER = f"{__name__}.Fixed"
    scripted.when(structured, says_json({"mode": "sales"}))
    # They stay with the answer, which comes after a tool.
    scripted.script(calls(Call("nope")), says("42."))
    events = list(chat.stream("What is it?"))
    assert names_of(events)[:3] == ["start", "sources", "mode"]
    source = {"id": "1", "text": "The answer is 42.", "score": 0.5, "metadata": {"page": 7}}
    assert events[1].data == {"sources": [source]}
    done = events[-1].data
    assert done["sources"] == [source]
    _, called, _, said = chat.messages(done["conversation_id"])
    assert (said["sources"], said["detected_mode"]) == ([source], "sales")
    assert (called["sources"], called["detected_mode"]) == (None, None)
    prompt = next(one for one in scripted.chats if not structured(one)).messages[0][1]
    assert "[1] The answer is 42." in prompt
    again = list(chat.join(done["stream_id"]))
    assert names_of(again) == names_of(events)


def test_a_retriever_that_fails_does_not_cost_the_answer(chat, scripted, settings):
    settings.CHAT_RETRIEVER = f"{__name__}.Broken"
    answer = chat.ask()
    assert (answer.status, answer.body["sources"]) == (200, None)


def test_qdrant_finds_the_nearest_chunks(chat, scripted, settings, tmp_path):
    qdrant = pytest.importorskip("qdrant_client")
    with_closing = qdrant.QdrantClient(path=str(tmp_path))
    with_closing.create_collection(
        "help", vectors_config=qdrant.models.VectorParams(size=64, distance="Cosine")
    )
    points = [
        qdrant.models.PointStruct(id=i, vector=vector_of(text), payload={"text": text, "n": i})
        for i, text in enumerate(TEXTS)
    ]
    with_closing.upsert("help", points)
    with_closing.close()
    settings.CHAT_QDRANT = {"path": str(tmp_path), "collection": "help", "limit": 2}
    settings.CHAT_RETRIEVER = "conversations.chat.llm.qdrant.QdrantRetriever"
    try:
        sources = chat.ask("How long takes a refund to arrive?").body["sources"]
        retriever = _retriever(settings.CHAT_RETRIEVER)
    finally:
        _retriever.cache_clear()
    assert isinstance(retriever, QdrantRetriever)
    retriever._client.close()
    assert len(sources) == 2
    assert sources[0]["text"] == TEXTS[0]
    assert sources[0]["metadata"] == {"n": 0}
    assert sources[0]["score"] > sources[1]["score"]
    assert "/v1/embeddings" in [one.path for one in scripted.requests]
