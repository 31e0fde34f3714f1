// Node's own HTTP, asked for so that its WebSocket client stays unloaded: `import` from node:http reads every name that
// the module has, and reading that one loads undici: 7 MB and up to 0.1 s of each start. Types come from node:http as
// ever. It adds nothing.

export const http = process.getBuiltinModule('node:http');
export const { Agent, createServer, request, STATUS_CODES } = http;
