"""What the frontend of Open WebUI sends to its own server for a chat, from the first sign-up."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

ANSWERS_WITHIN = 30  # seconds
TASKS = {"title_generation": True, "tags_generation": True, "follow_up_generation": True}


@dataclass
class Turn:
    """A question and one of its answers, as Open WebUI has them."""

    chat: str
    question: dict[str, Any]
    answer: str  # the id of its message
    text: str = ""


class Frontend:
    """One signed-in person. The first one to sign up is the administrator."""

    def __init__(self, url: str, name: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=ANSWERS_WITHIN)
        form = {"name": name, "email": f"{name.lower()}@example.com", "password": "pass-4711"}
        signed_up = self.client.post("/api/v1/auths/signup", json=form).raise_for_status().json()
        self.id, self.email = str(signed_up["id"]), form["email"]
        self.client.headers["Authorization"] = f"Bearer {signed_up['token']}"

    def models(self) -> list[str]:
        listed = self.client.get("/api/models").raise_for_status().json()["data"]
        return [one["id"] for one in listed if one.get("owned_by") != "arena"]

    def begin(self, text: str, models: list[str], *files: dict[str, Any]) -> Turn:
        """The first question of a new chat, with what is attached to it."""
        question = self._question(text, None) | ({"files": list(files)} if files else {})
        return self._ask(None, question, models)

    def follow(self, turn: Turn, text: str, models: list[str]) -> Turn:
        return self._ask(turn.chat, self._question(text, turn.answer), models)

    def regenerate(self, turn: Turn, models: list[str]) -> Turn:
        return self._ask(turn.chat, turn.question, models)

    def edit(self, turn: Turn, text: str, models: list[str]) -> Turn:
        """The question in other words, beside the one that was sent."""
        return self._ask(turn.chat, self._question(text, turn.question["parentId"]), models)

    def edit_answer(self, turn: Turn, text: str) -> None:
        """Save the answer in other words, in its place."""
        history = self.chat(turn)["chat"]["history"]
        part = {"type": "output_text", "text": text}
        said = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
        history["messages"][turn.answer] |= {"content": text, "output": [said]}
        body = {"chat": {"history": history}}
        self.client.post(f"/api/v1/chats/{turn.chat}", json=body).raise_for_status()

    def stop(self, turn: Turn) -> None:
        self.client.post(f"/api/tasks/chat/{turn.chat}/stop").raise_for_status()

    def wait(self, turn: Turn) -> Turn:
        """The turn with its answer, once the chat has no task running any more."""
        deadline = time.monotonic() + ANSWERS_WITHIN
        while self.client.get(f"/api/tasks/chat/{turn.chat}").json().get("task_ids"):
            assert time.monotonic() < deadline, f"no answer within {ANSWERS_WITHIN} s"
            time.sleep(0.1)
        message = self.message(turn)
        turn.text = message.get("content") or ""
        if error := message.get("error"):
            raise AssertionError(f"Open WebUI shows an error: {error}")
        return turn

    def chat(self, turn: Turn) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/v1/chats/{turn.chat}").json()
        return found

    def message(self, turn: Turn) -> dict[str, Any]:
        found: dict[str, Any] = self.chat(turn)["chat"]["history"]["messages"][turn.answer]
        return found

    def _question(self, text: str, parent: str | None) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "parentId": parent,
            "childrenIds": [],
            "role": "user",
            "content": text,
            "timestamp": int(time.time()),
        }

    def _ask(self, chat: str | None, question: dict[str, Any], models: list[str]) -> Turn:
        answer = str(uuid.uuid4())
        answers = [
            {
                "model_id": model,
                "message_id": str(uuid.uuid4()) if index else answer,
                "modelIdx": index,
            }
            for index, model in enumerate(models)
        ]
        body = {
            "stream": True,
            "model": models[0],
            "params": {},
            "features": {"memory": True, "web_search": False},
            "variables": {},
            "session_id": "none",
            "chat_id": chat,
            "id": answer,
            "message_ids": answers,
            "parent_id": question["parentId"],
            "user_message": question,
            # The images are in the question itself.
            "files": [one for one in question.get("files", []) if one["type"] != "image"],
            "background_tasks": TASKS
            if question["parentId"] is None
            else {"follow_up_generation": True},
        }
        sent = self.client.post("/api/chat/completions", json=body).raise_for_status().json()
        return Turn(sent["chat_id"], question, answer)
