// The search runs in a worker, which browsers refuse to pages that are opened as files. There, a
// hidden frame does its work: same messages, same code.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      this.frame.srcdoc = `<script>self.postMessage = (data) => parent.postMessage(data, "*");<\/script><script src="${new URL(url, document.baseURI)}"><\/script>`;
      this.listen = (event) => { if (event.source === this.frame.contentWindow) this.onmessage?.(event); };
      window.addEventListener("message", this.listen);
      this.frame.addEventListener("load", () => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      });
      document.body.append(this.frame);
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) }));
    }
    terminate() {
      window.removeEventListener("message", this.listen);
      this.frame.remove();
    }
  };
}
