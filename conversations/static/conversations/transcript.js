// The transcript: keyboard shortcuts, menus that close, copy buttons, images in the page. Without
// this file the page works by its links and forms.
(() => {
    const page = document.querySelector(".transcript");
    if (!page) return;
    const sheet = document.getElementById("shortcuts");
    const bar = page.querySelector(".bar");
    const messages = [...page.querySelectorAll(".message")];

    // What is scrolled to stays clear of the bar, which may be one line high or three.
    const measure = () => page.style.setProperty("--bar-height", `${bar.offsetHeight}px`);
    measure();
    new ResizeObserver(measure).observe(bar);

    const isTyping = (target) =>
        target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);

    const focusedMessage = () => document.activeElement?.closest(".message");

    // The message at the top of what is seen, and from it the next or previous one.
    const move = (step) => {
        const top = bar.getBoundingClientRect().bottom + 24;
        const below = messages.findIndex((message) => message.getBoundingClientRect().bottom > top);
        const focused = messages.indexOf(focusedMessage());
        let at = below < 0 ? messages.length - 1 : below;
        if (focused >= 0) at = focused + step;
        else if (step < 0) at -= 1;
        const message = messages[Math.max(0, Math.min(at, messages.length - 1))];
        if (!message) return;
        message.tabIndex = -1;
        message.scrollIntoView({ block: "start" });
        message.focus({ preventScroll: true });
    };
    const follow = (which) => page.querySelector(`[data-hit=${which}]`)?.click();

    // Another version of the message that has the focus or was led to, else of the first on the
    // screen that has any.
    const switchVersion = (which) => {
        const top = bar.getBoundingClientRect().bottom;
        const seen = [...page.querySelectorAll(".version")].filter((version) => {
            const place = version.getBoundingClientRect();
            return place.bottom > top && place.top < innerHeight;
        });
        const near = focusedMessage() ?? page.querySelector(".message:target");
        const version = seen.find((one) => one.closest(".message") === near) ?? seen[0];
        version?.querySelector(`[data-version=${which}]`)?.click();
    };
    // The page of another version shows it at the same height, with the focus on the same link.
    const SWITCHED = "switched-version";
    for (const link of page.querySelectorAll("[data-version]")) {
        link.addEventListener("click", () => {
            const { top } = link.closest(".message").getBoundingClientRect();
            const focused = document.activeElement === link ? link.dataset.version : "";
            sessionStorage.setItem(SWITCHED, JSON.stringify([link.hash, top, focused]));
        });
    }
    const switched = JSON.parse(sessionStorage.getItem(SWITCHED) ?? "[]");
    sessionStorage.removeItem(SWITCHED);
    const arrived = switched[0] === location.hash && document.getElementById(location.hash.slice(1));
    if (arrived) {
        const [, top, focused] = switched;
        // After the browser, which scrolls to the message and takes the focus away.
        addEventListener("load", () => requestAnimationFrame(() => {
            scrollBy(0, arrived.getBoundingClientRect().top - top);
            const links = [...arrived.querySelectorAll("[data-version]")];
            const link = links.find((one) => one.dataset.version === focused) ?? links[0];
            if (focused) link?.focus({ preventScroll: true });
        }));
    }
    const showSheet = () => {
        if (!sheet.open) sheet.showModal();
    };

    const shortcuts = {
        j: () => move(1),
        k: () => move(-1),
        h: () => switchVersion("previous"),
        l: () => switchVersion("next"),
        n: () => follow("next"),
        p: () => follow("previous"),
        "/": () => {
            const field = document.getElementById("find");
            field.focus();
            field.select();
        },
        "?": showSheet,
    };
    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape") return closeMenus(event);
        const modified = event.ctrlKey || event.metaKey || event.altKey;
        if (modified || event.isComposing || isTyping(event.target) || sheet.open) return;
        const act = shortcuts[event.key];
        if (!act) return;
        event.preventDefault();
        // The theme has shortcuts of its own, such as / for its search of the site.
        event.stopImmediatePropagation();
        act();
    }, true);

    // Menus
    const menus = [...page.querySelectorAll("details.menu")];
    const closeMenus = (event) => {
        for (const menu of menus) {
            if (!menu.open || (event.type === "click" && menu.contains(event.target))) continue;
            menu.open = false;
            if (event.type === "keydown") menu.querySelector("summary").focus();
        }
    };
    document.addEventListener("click", closeMenus);
    for (const button of page.querySelectorAll("[data-shortcuts]")) {
        button.hidden = false;
        button.addEventListener("click", () => {
            button.closest("details").open = false;
            showSheet();
        });
    }

    // Copying
    const copy = async (text) => {
        if (navigator.clipboard) return navigator.clipboard.writeText(text);
        const field = document.createElement("textarea"); // plain HTTP has no clipboard
        field.value = text;
        document.body.append(field);
        field.select();
        document.execCommand("copy");
        field.remove();
    };
    const copyButton = (label, text) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "copy";
        button.textContent = "Copy";
        button.setAttribute("aria-label", label);
        button.addEventListener("click", async () => {
            try {
                await copy(text());
                button.textContent = "Copied";
            } catch {
                button.textContent = "Not copied";
            }
            setTimeout(() => { button.textContent = "Copy"; }, 2000);
        });
        return button;
    };
    for (const message of messages) {
        const number = message.id.slice(2);
        const text = message.querySelector(":scope > .text");
        if (text) {
            const button = copyButton(`Copy the text of message ${number}`, () => text.innerText);
            message.querySelector("header .sequence").after(button);
        }
        for (const block of message.querySelectorAll("pre")) {
            const around = document.createElement("div");
            around.className = "copyable";
            block.replaceWith(around);
            around.append(block, copyButton(`Copy this block of message ${number}`, () => block.innerText));
        }
    }

    // Images: the link opens one in a new tab, the button in the page. Neither loads it before.
    for (const link of page.querySelectorAll("a.image")) {
        const button = document.createElement("button");
        const show = link.textContent;
        button.type = "button";
        button.className = "image";
        button.textContent = show;
        button.setAttribute("aria-expanded", "false");
        button.addEventListener("click", () => {
            const isShown = button.getAttribute("aria-expanded") === "true";
            button.setAttribute("aria-expanded", String(!isShown));
            button.textContent = isShown ? show : show.replace("Show", "Hide");
            if (isShown) return button.nextElementSibling.remove();
            const image = document.createElement("img");
            image.alt = `${show.replace("Show i", "I")} of message ${button.closest(".message").id.slice(2)}`;
            image.src = link.href;
            image.addEventListener("error", () => {
                const failed = document.createElement("p");
                failed.textContent = "The image could not be loaded.";
                image.replaceWith(failed);
            });
            button.after(image);
        });
        link.replaceWith(button);
    }

    // A table wider than its message scrolls in it, with the keyboard too.
    for (const table of page.querySelectorAll(".is-laid-out table")) {
        if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    }

    // Scrolls to the match, which may be far down in its message.
    const mark = page.querySelector(".message.is-hit mark");
    if (mark) {
        const seen = mark.getBoundingClientRect();
        const within = mark.closest("pre");
        if (within) within.scrollTop += seen.top - within.getBoundingClientRect().top - 40;
        requestAnimationFrame(() => {
            const { top, bottom } = mark.getBoundingClientRect();
            if (top < bar.getBoundingClientRect().bottom || bottom > innerHeight) {
                mark.scrollIntoView({ block: "center" });
            }
        });
    }
})();
