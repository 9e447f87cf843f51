// The page Backward, framed within a page of the site, takes the light or the dark that the reader chose
// there. Pages that are opened as files may not look into each other, so one tells the other.
(() => {
  const root = document.documentElement;
  if (window !== parent) {
    addEventListener("message", ({ source, data }) => {
      if (source === parent && data?.jcnnTheme) root.dataset.theme = data.jcnnTheme;
    });
    parent.postMessage({ jcnnTheme: "?" }, "*");
    return;
  }
  const frames = () => [...document.querySelectorAll("iframe.whole")];
  const tell = () => {
    const theme = document.body.dataset.mdColorScheme === "slate" ? "dark" : "light";
    frames().forEach((frame) => frame.contentWindow.postMessage({ jcnnTheme: theme }, "*"));
  };
  addEventListener("message", ({ source, data }) => {
    if (data?.jcnnTheme === "?" && frames().some((frame) => frame.contentWindow === source)) tell();
  });
  new MutationObserver(tell).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
})();
