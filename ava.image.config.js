// The tests of the container image, which .ci/image builds and names in SALLYPORT_IMAGE.

export default {
  extensions: ['ts'],
  files: ['test/image/image-test.ts'],
  environmentVariables: { NODE_NO_WARNINGS: '1' },
  timeout: '120s',
  concurrency: 1,
};
