"""The keys of messages as SDKs dump them, which are accepted beside our own fields and kept.

Read in the types of openai 3.54 (`openai.types.chat`, `openai.types.responses`), anthropic 2.14
(`anthropic.types`), langchain-core 1.8 (`langchain_core.messages`), litellm 1.110
(`litellm.types.utils`) and openai-agents 0.24, whose items are those of the Responses API.
"""

from __future__ import annotations

# https://platform.openai.com/docs/api-reference/chat/object; `reasoning_content` and `reasoning`
# are those of vLLM, DeepSeek and OpenRouter, `weight` that of fine-tuning files.
_CHAT_COMPLETIONS = (
    *("refusal", "annotations", "audio", "function_call", "logprobs", "index", "weight"),
    *("reasoning_content", "reasoning", "reasoning_details"),
    *("object", "choices", "created", "usage", "service_tier", "system_fingerprint", "moderation"),
)
# https://platform.openai.com/docs/api-reference/responses/object: of messages.
_RESPONSES = ("type", "phase", "output")
# https://docs.anthropic.com/en/api/messages
_ANTHROPIC = (
    *("type", "stop_reason", "stop_sequence", "stop_details", "container", "context_management"),
    *("diagnostics", "usage"),
)
# https://python.langchain.com/api_reference/core/messages.html; `data`, `lc` and `kwargs` are
# those of `message_to_dict` and `dumpd`.
_LANGCHAIN = (
    *("type", "additional_kwargs", "response_metadata", "usage_metadata", "invalid_tool_calls"),
    *("tool_call_chunks", "chunk_position", "artifact", "example", "data", "lc", "kwargs"),
)
# https://docs.litellm.ai/docs/completion/output
_LITELLM = (
    *("provider_specific_fields", "reasoning_content", "reasoning_items", "thinking_blocks"),
    "images",
)
KNOWN_KEYS = frozenset((*_CHAT_COMPLETIONS, *_RESPONSES, *_ANTHROPIC, *_LANGCHAIN, *_LITELLM))

# The beginnings of ids that are not ours: of completions, messages, runs, responses and items.
ID_PREFIXES = (
    *("chatcmpl-", "chatcmpl_", "gen-", "msg_", "run-", "run--", "lc_run-", "resp_", "rs_"),
    *("fc_", "fco_", "ctc_", "ctco_", "ws_", "fs_", "ci_", "ig_", "cu_", "cuo_", "mcp_"),
    *("mcpl_", "mcpr_", "lsh_", "sh_", "ap_", "cmp_", "item_"),
)

# The `type` of a LangChain message is who speaks; that of a chunk, and `dumpd`, name the class.
LANGCHAIN_ROLES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "HumanMessage": "user",
    "AIMessage": "assistant",
    "SystemMessage": "system",
    "ToolMessage": "tool",
    "FunctionMessage": "tool",
}

# The items of the Responses API that are calls of the application's tools, and their results.
CALL_ITEMS = frozenset({"function_call", "custom_tool_call"})
RESULT_ITEMS = frozenset({"function_call_output", "custom_tool_call_output"})
# All others but messages: what the columns cannot hold, so that the item is kept whole as a part.
_OF_THE_MODEL = (
    *("reasoning", "file_search_call", "web_search_call", "computer_call", "tool_search_call"),
    *("code_interpreter_call", "image_generation_call", "local_shell_call", "shell_call"),
    *("apply_patch_call", "mcp_list_tools", "mcp_approval_request", "mcp_call", "program"),
    *("compaction", "compaction_trigger", "configuration_update", "additional_tools"),
    "item_reference",
)
_OF_A_TOOL = (
    *("computer_call_output", "tool_search_output", "local_shell_call_output"),
    *("shell_call_output", "apply_patch_call_output", "program_output", "mcp_approval_response"),
)
WHOLE_ITEMS = dict.fromkeys(_OF_THE_MODEL, "assistant") | dict.fromkeys(_OF_A_TOOL, "tool")
ITEM_TYPES = frozenset({*CALL_ITEMS, *RESULT_ITEMS, *WHOLE_ITEMS})

# How others call the state of a message or an item. What a dump says to be in progress is not
# `streaming`: nobody will end it.
STATUSES = {
    "completed": "complete",
    "success": "complete",
    "incomplete": "stopped",
    "cancelled": "stopped",
    "error": "failed",
    "in_progress": "interrupted",
    "queued": "interrupted",
    "searching": "interrupted",
    "generating": "interrupted",
    "interpreting": "interrupted",
    "calling": "interrupted",
}
