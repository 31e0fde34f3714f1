// The tests that need a real Kubernetes API server: `npm run test:cluster`. It builds the servers first.

export default {
  extensions: ['ts'],
  files: ['test/cluster/**/*.test.ts'],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
  timeout: '180s',
  concurrency: 2,
};
