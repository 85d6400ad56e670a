"""One item of each type as a client sends it, by name, and what strict readers make of answers."""

from typing import Any

from conversations.tests.sdk_messages import IMAGE, ITEMS, LOGPROB, PLACE

SENT: dict[str, dict[str, Any]] = {item["type"]: item for item in ITEMS}
TEXT = [{"type": "input_text", "text": "24 °C"}]
CALL = {"call_id": "call_1"}

EXAMPLES = {
    "easy message": {"role": "user", "content": "Hello"},
    "message": {"type": "message", "role": "developer", "content": "Be brief.\n"},
    "message of parts": {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "detail": "low", "image_url": IMAGE, "file_id": None},
            {"type": "input_image", "detail": "auto", "file_id": "file_1"},
            {"type": "input_file", "file_id": "file_2", "filename": "a.pdf"},
        ],
    },
    "answer": {key: value for key, value in SENT["message"].items() if key != "id"},
    "answer that was cut": {
        "type": "message",
        "role": "assistant",
        "status": "incomplete",
        "phase": "commentary",
        "content": [
            {"type": "output_text", "text": "It is", "annotations": [], "logprobs": [LOGPROB]},
            {"type": "text", "text": "perhaps"},
            {"type": "summary_text", "text": "A guess"},
            {"type": "reasoning_text", "text": "Who knows"},
            {"type": "refusal", "refusal": "No."},
            {"type": "computer_screenshot", "detail": "auto", "file_id": "f", "image_url": None},
        ],
    },
    "reasoning": SENT["reasoning"],
    "reasoning with its text": {
        "type": "reasoning",
        "id": "rs_2",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Rome is in Italy."}],
    },
    "function_call": SENT["function_call"],
    "function_call of a program": {
        **SENT["function_call"],
        "id": "fc_9",
        "namespace": "travel",
        "async": False,
        "caller": {"type": "program", "caller_id": "call_0"},
    },
    "function_call_output": {"type": "function_call_output", **CALL, "output": "24 °C"},
    "function_call_output of parts": {
        "type": "function_call_output",
        **CALL,
        "id": "fco_1",
        "status": "incomplete",
        "output": [*TEXT, {"type": "input_image", "detail": "auto", "image_url": IMAGE}],
    },
    "custom_tool_call": SENT["custom_tool_call"],
    "custom_tool_call_output": {"type": "custom_tool_call_output", "call_id": "c", "output": "7"},
    "custom_tool_call_output of parts": {
        "type": "custom_tool_call_output",
        "call_id": "c",
        "output": TEXT,
    },
    "web_search_call": SENT["web_search_call"],
    "file_search_call": {
        "type": "file_search_call",
        "id": "fs_1",
        "status": "completed",
        "queries": ["Rome", "Roma"],
        "results": [{"file_id": "file_1", "filename": "a.md", "score": 0.5, "text": "Rome"}],
    },
    "code_interpreter_call": {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "status": "interpreting",
        "code": "print(1)",
        "container_id": "cntr_1",
        "outputs": [{"type": "logs", "logs": "1"}],
    },
    "image_generation_call": {
        "type": "image_generation_call",
        "id": "ig_1",
        "status": "completed",
        "result": "aGk=",
        "revised_prompt": "A cat",
    },
    "computer_call": {
        "type": "computer_call",
        "id": "cu_1",
        **CALL,
        "status": "completed",
        "action": {"type": "click", "button": "left", "x": 1, "y": 2},
        "pending_safety_checks": [],
    },
    "computer_call_output": {
        "type": "computer_call_output",
        **CALL,
        "output": {"type": "computer_screenshot", "image_url": IMAGE},
    },
    "local_shell_call": {
        "type": "local_shell_call",
        "id": "lsh_1",
        **CALL,
        "status": "completed",
        "action": {"type": "exec", "command": ["ls"], "env": {"A": "1"}},
    },
    "local_shell_call_output": {
        "type": "local_shell_call_output",
        "id": "lsh_2",
        "output": '{"stdout": "a"}',
    },
    "shell_call": {
        "type": "shell_call",
        **CALL,
        "action": {"commands": ["ls"], "timeout_ms": 5, "max_output_length": None},
    },
    "shell_call_output": {
        "type": "shell_call_output",
        **CALL,
        "max_output_length": 10,
        "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    },
    "apply_patch_call": {
        "type": "apply_patch_call",
        **CALL,
        "status": "completed",
        "operation": {"type": "delete_file", "path": "a.txt"},
    },
    "apply_patch_call_output": {
        "type": "apply_patch_call_output",
        **CALL,
        "status": "failed",
        "output": "No such file.",
    },
    "mcp_list_tools": {
        "type": "mcp_list_tools",
        "id": "mcpl_1",
        "server_label": "trains",
        "tools": [{"name": "timetable", "input_schema": {"type": "object"}}],
    },
    "mcp_approval_request": {
        "type": "mcp_approval_request",
        "id": "mcpr_1",
        "server_label": "trains",
        "name": "buy",
        "arguments": "{}",
    },
    "mcp_approval_response": {
        "type": "mcp_approval_response",
        "approval_request_id": "mcpr_1",
        "approve": True,
        "reason": None,
    },
    "mcp_call": SENT["mcp_call"],
    "mcp_call that failed": {
        **SENT["mcp_call"],
        "id": "mcp_2",
        "output": None,
        "error": {"type": "mcp_protocol_error", "code": 1, "message": "No train."},
        "status": "failed",
    },
    "tool_search_call": {"type": "tool_search_call", "arguments": {"query": "trains"}},
    "tool_search_output": {"type": "tool_search_output", "call_id": None, "tools": []},
    "additional_tools": {"type": "additional_tools", "role": "developer", "tools": []},
    "configuration_update": {"type": "configuration_update", "reasoning": {"effort": "low"}},
    "program": {
        "type": "program",
        "id": "prog_1",
        **CALL,
        "code": "await weather()",
        "fingerprint": "f",
    },
    "program_output": {
        "type": "program_output",
        "id": "po_1",
        **CALL,
        "result": "24",
        "status": "completed",
    },
    "compaction": {"type": "compaction", "id": "cmp_1", "encrypted_content": "eHg="},
}
CITED = {"type": "url_citation", **PLACE}


def expected(sent):
    """What an item reads as, beside keys that strict readers require and its id."""
    shown = {"type": "message", **sent}
    if shown["type"] != "message":
        return shown
    shown.pop("id", None)
    if isinstance(shown["content"], str):
        answers = shown["role"] == "assistant"
        part = {"type": "output_text" if answers else "input_text", "text": shown["content"]}
        more = {"annotations": [], "logprobs": []} if answers else {}
        shown["content"] = [part | more]
    return shown


def read_strictly(item):
    """Raises what the SDK's strict reader does."""
    from openai._models import validate_type
    from openai.types.conversations import ConversationItem

    return validate_type(type_=ConversationItem, value=item)
