// Starts Swagger UI. In a file of its own, because the Content-Security-Policy allows no inline script.

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null, // Nothing is loaded from another host.
});
