// A server as one would write it on a first day with Node.js.
const http = require("http");

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain");
  response.end(`version ${process.env.EVERUP_VERSION} of ${process.env.EVERUP_INSTANCE}\n`);
});
server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
