export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
  timeout: '120s',
  concurrency: 2,
};
