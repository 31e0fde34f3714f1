export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts', '!test/cluster/**'],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
  timeout: '120s',
  concurrency: 2,
};
