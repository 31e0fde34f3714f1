// Loads what a start of the gateway loads, and ends: what Node compiled for it, types stripped, is in its compile cache
// then, and the first start is as fast as those after it. npm runs it after an install. It starts nothing, and a cache
// that cannot be written is no error.

import './cli/commands.ts';
import './cli/serve.ts';
import './serve.ts';
