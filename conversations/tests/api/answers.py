"""An application's answer over the API's test client: opened, written, read."""

from conversations.models import Message
from conversations.tests.factories import make_conversation


class Answer:
    """An answer that the client has opened in a conversation of this user."""

    def __init__(self, client, user, base="/api/conversations", **fields):
        self.client = client
        self.chat = make_conversation(user)
        self.messages = f"{base}/{self.chat.pk}/messages"
        opened = client.post(self.messages, OPENING | fields)
        assert opened.status_code == 201, opened.json()
        self.id = opened.json()["id"]
        self.url = f"{self.messages}/{self.id}"

    def patch(self, client=None, **body):
        return (client or self.client).patch(self.url, body)

    def say(self, text, offset, **more):
        return self.patch(append={"content": text}, offset=offset, **more)

    def end(self, **fields):
        return self.patch(**{"status": "complete"} | fields)

    @property
    def stored(self):
        return Message.objects.get(id=self.id)


OPENING = {"role": "assistant", "status": "streaming"}


def code_of(response):
    """Status, code and field of the error of a response."""
    error = response.json()["errors"][0]
    return response.status_code, error["code"], error["attr"]
