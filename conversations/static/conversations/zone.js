// Tells the server the viewer's time zone, so that it writes times and reads dates in it. On the
// first page, written before the server knew, the times are rewritten here.
(() => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!zone || document.cookie.split("; ").includes(`zone=${encodeURIComponent(zone)}`)) return;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `zone=${encodeURIComponent(zone)}; Path=/admin; Max-Age=31536000; SameSite=Lax${secure}`;
    const shown = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
    const named = new Intl.DateTimeFormat("en", { timeZoneName: "short" });
    const rewrite = () => {
        for (const time of document.querySelectorAll("time[datetime]")) {
            const at = new Date(time.dateTime);
            if (Number.isNaN(at.valueOf())) continue;
            const name = named.formatToParts(at).find((part) => part.type === "timeZoneName");
            // Beside a relative time the full one is the title.
            const written = time.title || time.textContent;
            const text = shown.format(at).slice(0, /:\d\d:\d\d /.test(written) ? undefined : 16);
            const full = `${text} ${name ? name.value : ""}`.trim();
            if (time.title) time.title = full;
            else time.textContent = full;
        }
    };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", rewrite);
    else rewrite();
})();
