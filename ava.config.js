export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
  timeout: '60s',
  concurrency: 2,
};
