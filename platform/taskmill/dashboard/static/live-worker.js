// @ts-check
// 一个浏览器只开一条事件流：几个标签页共用，不占满浏览器的六条连接
/** @type {Set<MessagePort>} */
const ports = new Set();
/** @type {EventSource | null} */
let source = null;
let state = "lost";

/** @param {object} message */
function tell(message) {
  for (const port of ports) port.postMessage(message);
}

/** @param {string} next */
function become(next) {
  if (state === next) return;
  state = next;
  tell({ state });
}

function open() {
  if (source && source.readyState !== EventSource.CLOSED) return;
  source = new EventSource(new URL("../events", self.location.href));
  source.onopen = () => become("live");
  source.onmessage = (event) => tell({ topics: event.data.split(" ") });
  source.onerror = () => {
    become("lost");
    // 答的不是事件流（会话已结束、停机、太多）：浏览器不会自己重连
    if (source && source.readyState === EventSource.CLOSED) setTimeout(() => ports.size && open(), 5000);
  };
}

// @ts-ignore 在 SharedWorker 里
self.onconnect = (event) => {
  /** @type {MessagePort} */
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = (message) => {
    if (message.data !== "bye") return;
    ports.delete(port);
    if (!ports.size && source) {
      source.close();
      source = null;
      state = "lost";
    }
  };
  port.postMessage({ state });
  open();
};
