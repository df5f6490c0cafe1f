// 不联系任何别的主机：没有校验徽标，没有 OAuth 跳转
window.ui = SwaggerUIBundle({
  url: "/schema/openapi.json",
  dom_id: "#api",
  validatorUrl: null,
  deepLinking: true,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
