// The text filters of a list offer known values: asked for when a field is entered, and again while
// somebody types, since only some of many are sent. Any other value may be typed as well.
(() => {
    "use strict";

    const offer = async (field) => {
        const query = new URLSearchParams({filter: field.dataset.known, q: field.value});
        const response = await fetch(`known-values/?${query}`);
        if (!response.ok) return;
        const {values} = await response.json();
        field.list.replaceChildren(...values.map((value) => {
            const option = document.createElement("option");
            option.value = value;
            return option;
        }));
    };

    addEventListener("DOMContentLoaded", () => {
        for (const field of document.querySelectorAll("input[data-known]")) {
            let waiting;
            field.addEventListener("focus", () => offer(field));
            field.addEventListener("input", () => {
                clearTimeout(waiting);
                waiting = setTimeout(() => offer(field), 200);
            });
        }
    });
})();
