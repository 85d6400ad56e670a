// A file to import is sent in pieces, so that its size is not that of a request; and the page of an
// import that goes on shows how far it is. Without this script a small file is sent with its form,
// and the page is loaded again by itself.
(() => {
    "use strict";

    const ATTEMPTS = 5;
    const LOOK_MS = 2000;

    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

    // What is refused by its content is not sent again; what got lost on its way is.
    const post = async (url, body, headers) => {
        for (let attempt = 1; ; attempt++) {
            try {
                const response = await fetch(url, {
                    method: "POST", body, headers: {Accept: "application/json", ...headers},
                });
                if (response.ok) {
                    const answer = await response.json();
                    if (answer.errors) throw Object.assign(new Error("refused"), answer);
                    return answer;
                }
                if (response.status < 500 || attempt === ATTEMPTS) {
                    const text = await response.text();
                    let errors = {file: [`The server answered ${response.status}.`]};
                    try { errors = JSON.parse(text).errors ?? errors; } catch { /* not JSON */ }
                    throw Object.assign(new Error("refused"), {errors});
                }
            } catch (error) {
                if (error.errors || attempt === ATTEMPTS) throw error;
            }
            await pause(1000 * attempt);
        }
    };

    const showErrors = (form, errors) => {
        for (const [name, texts] of Object.entries(errors)) {
            const row = form.querySelector(`[data-field="${name}"]`) ?? form;
            for (const text of texts) {
                const line = document.createElement("p");
                line.className = "filter-error";
                line.setAttribute("role", "alert");
                line.textContent = text.message ?? text;
                row.append(line);
            }
        }
        form.querySelector(".filter-error")?.parentElement.querySelector("input, select")?.focus();
    };

    const send = async (form, file) => {
        const token = {"X-CSRFToken": form.elements.csrfmiddlewaretoken.value};
        const piece = Number(form.dataset.pieceBytes);
        const status = form.querySelector("[data-status]");
        const values = new FormData(form);
        values.delete("file");
        values.set("file_name", file.name);
        values.set("size", file.size);
        const begun = await post(form.action, values, token);
        status.hidden = false;
        for (let at = 0; at < file.size; at += piece) {
            status.querySelector("progress").value = at / file.size;
            status.querySelector("span").textContent = `${Math.floor(100 * at / file.size)} % sent`;
            await post(`${begun.piece}?at=${at}`, file.slice(at, at + piece), {
                ...token, "Content-Type": "application/octet-stream",
            });
        }
        location.assign(begun.run);
    };

    const interceptForm = (form) => form.addEventListener("submit", async (event) => {
        const [file] = form.elements.file.files;
        if (!file) return;
        event.preventDefault();
        const button = form.querySelector("button");
        form.querySelectorAll(".filter-error").forEach((line) => line.remove());
        button.disabled = true;
        try {
            await send(form, file);
        } catch (error) {
            showErrors(form, error.errors ?? {file: ["The file could not be sent."]});
        } finally {
            form.querySelector("[data-status]").hidden = true;
            button.disabled = false;
        }
    });

    const follow = async (shown) => {
        while (shown.hasAttribute("data-unfinished")) {
            await pause(LOOK_MS);
            const response = await fetch(location.href).catch(() => null);
            if (!response?.ok) continue;
            const page = new DOMParser().parseFromString(await response.text(), "text/html");
            const next = page.querySelector("[data-import-run]");
            if (!next) return;
            shown.replaceWith(next);
            shown = next;
            if (!page.querySelector("[data-stop]")) document.querySelector("[data-stop]")?.remove();
        }
    };

    addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("form[data-import]").forEach(interceptForm);
        document.querySelectorAll("[data-import-run]").forEach(follow);
    });
})();
