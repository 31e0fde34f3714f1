// The load client, a process of its own: takes one load at a time by IPC and answers with its result.
// It knows no peer; it is told a port.

import { type LoadRequest, loads } from './loads.ts';

process.on('message', async (request: LoadRequest) => {
  try {
    process.send!({ result: await loads[request.load](request) });
  } catch (error) {
    process.send!({ failure: String(error) });
  }
});
process.on('disconnect', () => process.exit());
