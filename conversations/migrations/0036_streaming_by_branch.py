"""One answer of each branch may be `streaming`, not of each conversation.

The new index is built while others read and write. A run that is interrupted is taken up again by
the next `migrate`. Back again, a conversation with two running answers has to wait for their end.
"""

from django.db import migrations, models

TABLE = "conversations_message"
EACH, ONE = "message_one_streaming_each", "message_one_streaming"


def built(name, columns):
    return [
        f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
        f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {TABLE} ({columns}) WHERE status = 'streaming'",
    ]


def removed(name):
    return [f"DROP INDEX CONCURRENTLY IF EXISTS {name}"]


OF_CONVERSATION, OF_BRANCH = "user_id, conversation_id", "user_id, conversation_id, branch"


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0035_item_ids'),
    ]

    operations = [
        migrations.RunSQL(
            [*built(EACH, OF_BRANCH), *removed(ONE)],
            [*built(ONE, OF_CONVERSATION), *removed(EACH)],
            state_operations=[
                migrations.RemoveConstraint(model_name='message', name=ONE),
                migrations.AddConstraint(
                    model_name='message',
                    constraint=models.UniqueConstraint(
                        condition=models.Q(('status', 'streaming')),
                        fields=('user', 'conversation', 'branch'),
                        name=EACH,
                    ),
                ),
            ],
        ),
    ]
