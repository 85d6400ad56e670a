from conversations.tests.chat.fixtures import *  # noqa: F403
