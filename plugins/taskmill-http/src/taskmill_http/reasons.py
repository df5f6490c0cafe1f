"""What the plugin says to people, in both languages; facts are filled in: `reasons.NAME(fact=…)`."""

from __future__ import annotations

from typing import Final

from taskmill.plugin import Words

HEADERS_ABOVE: Final = Words("请求头超过 {count} 个或 {size} 字节", "headers above {count} or {size} bytes")
HEADER_NOT_ALLOWED: Final = Words("不允许的请求头 {name}", "header {name} is not allowed")
HEADER_CONTROL: Final = Words("请求头 {name} 含控制字符", "header {name} contains control characters")
NO_SECRET: Final = Words("没有配置机密 {name}", "no secret {name} is configured")
SECRET_HOST: Final = Words("机密 {name} 不能发往 {host}", "secret {name} may not go to {host}")
SECRET_HTTPS: Final = Words("机密 {name} 只能经 https 发送", "secret {name} needs https")
TIMEOUT_ABOVE: Final = Words("timeout_s 超过上限 {limit}", "timeout_s is above {limit}")
NO_ANSWER: Final = Words("{seconds} 秒内无应答", "no answer within {seconds} s")
CANNOT_SEND: Final = Words("请求无法发送：{error}", "the request cannot be sent: {error}")
TOO_MANY_REDIRECTS: Final = Words("重定向超过 {limit} 次", "more than {limit} redirects")
BODY_STAYS: Final = Words("被重定向到 {place}，请求体不能发往那里", "redirected to {place}, where the body may not go")
CERTIFICATE: Final = Words("{host} 的证书：{error}", "certificate of {host}: {error}")
TLS: Final = Words("与 {host} 的 TLS：{error}", "TLS with {host}: {error}")
NO_URL: Final = Words("重定向的地址无效：{text}", "redirected to what is no URL: {text}")
DOWNGRADED: Final = Words("从 https 被重定向到 {scheme}", "redirected from https to {scheme}")
JSON_OR_BODY: Final = Words("json 与 body 只能给一个", "give json or body, not both")
URL_ABOVE: Final = Words("地址超过 {limit} 个字符", "URL above {limit} characters")
HOST_ABOVE: Final = Words("主机名超过 {limit} 个字符", "host above {limit} characters")
ONLY_HTTP: Final = Words("只支持 http 与 https 地址", "only http and https URLs")
NO_DOMAIN: Final = Words("{host} 不是可以登记的域名（IDNA 2008）", "{host} is no name that can be registered (IDNA 2008)")
CREDENTIALS: Final = Words("凭据应放在请求头里，不能放在地址里", "credentials belong into a header, not into the URL")
DISGUISED: Final = Words(
    "{host} 是变形的地址写法；请写成 192.0.2.1 这样", "{host} is a disguised address; write it as 192.0.2.1"
)
NOT_PUBLIC: Final = Words(
    "{host} 不是公网地址；见 TASKMILL_PLUGIN_HTTP_ALLOW_PRIVATE",
    "{host} is not a public address; see TASKMILL_PLUGIN_HTTP_ALLOW_PRIVATE",
)

# 任务页上的面板
REQUEST: Final = Words("请求", "Request")
REQUEST_HEADERS: Final = Words("请求头", "Request headers")
REQUEST_BODY: Final = Words("请求体", "Request body")
ANSWER: Final = Words("应答", "Answer")
ANSWERED: Final = Words("{status}，用了 {ms} 毫秒", "{status} after {ms} ms")
ANSWER_URL: Final = Words("来自", "From")
ANSWER_HEADERS: Final = Words("应答头", "Answer headers")
ANSWER_BODY: Final = Words("应答体", "Answer body")
INCOMPLETE: Final = Words("不完整", "Incomplete")
LAST_ATTEMPT: Final = Words("最近一次尝试", "Last attempt")
NOT_YET: Final = Words("还没有", "none yet")
