// Starts Swagger UI. A separate file because the Content-Security-Policy forbids inline scripts.

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null, // Load nothing from other hosts.
});
