// The part of the undici package that is used: one connection, without its fetch, caches and pools.

declare module 'undici/lib/dispatcher/client.js' {
  export { Client as default } from 'undici';
}
