// The data plane of a running gateway, joined to the rest of it: opened, let accept, and what its threads hand to the
// control thread. What a connection meets there is entry/'s business.

import { availableParallelism } from 'node:os';
import type { Configuration } from './configuration.ts';
import { type DataPlane, openDataPlane } from './data-plane.ts';
import type { DescriptorShares } from './descriptor-shares.ts';
import type { LoopWays } from './entry/loop-client.ts';
import type { Gateway } from './gateway.ts';
import type { Listeners } from './listeners.ts';
import { hasCpuLimit } from './os/cpu-limit.ts';
import type { EventLoop } from './os/event-loop.ts';
import type { DecisionLog } from './record/decision-log.ts';
import type { Messages } from './record/messages.ts';
import { stackOf } from './session/failure.ts';
import type { OpenCounts } from './session/open-counts.ts';
import { answerQuestion } from './threads/answer-questions.ts';
import type { ControlThread, DataPlaneThreads } from './threads/data-plane-threads.ts';

/** What the loops are joined to. */
export interface LoopsParts {
  readonly configuration: Configuration;
  readonly gateway: Gateway;
  readonly listeners: Listeners;
  readonly counts: OpenCounts;
  readonly shares: DescriptorShares;
  /** Client connections that may be open, refused ones among them. */
  readonly mostConnections: number;
  readonly log: DecisionLog;
  readonly messages: Messages;
  acceptFailed(error: NodeJS.ErrnoException): void;
}

export class Loops {
  readonly dataPlane: DataPlane;
  readonly #parts: LoopsParts;
  /** Sessions that the threads cut for the latest snapshot. */
  cutInThreads = 0;

  private constructor(dataPlane: DataPlane, parts: LoopsParts) {
    this.dataPlane = dataPlane;
    this.#parts = parts;
  }

  /** @throws Error where the configuration insists on what cannot be had */
  static async open(parts: LoopsParts): Promise<Loops> {
    const { configuration, counts, shares, mostConnections, messages } = parts;
    const { config } = configuration.holder.current();
    const dataPlane = await openDataPlane(config, {
      openCounts: counts,
      knowsCluster: config.kubernetes !== undefined,
      mostByDescriptors: shares.sessions,
      mostIdleOrigins: shares.idleOrigins,
      mostConnections,
      loopLimits: {
        mostPipes: shares.pipes,
        pipeBytes: config.limits.relayPipeBytes,
        busyPollMs: hasTimeToSpare() ? config.limits.busyPollTime : 0,
      },
      control: controlThread(parts),
    });
    if (dataPlane.kind === 'streams' && config.relay.mode === 'auto')
      messages.warn('no FFI here: tunnels go over streams of Node, on one thread');
    const loops = new Loops(dataPlane, parts);
    loops.#join();
    return loops;
  }

  #join(): void {
    const { gateway, configuration } = this.#parts;
    const { own, threads } = this;
    if (own) gateway.pools.connectBy(own.connector);
    if (threads === null) return;
    configuration.publishTo({
      publish: async input => {
        this.cutInThreads = await threads.publish(input);
      },
      publishHost: host => threads.publishHost(host),
    });
    // Without a loop here nobody is served before they are there.
    if (!own) void threads.start();
  }

  /** This thread's loop. */
  get own(): LoopWays | null {
    return this.dataPlane.kind === 'loops' ? this.dataPlane.own : null;
  }

  get threads(): DataPlaneThreads | null {
    return this.dataPlane.kind === 'loops' ? this.dataPlane.threads : null;
  }

  /** Clients are served from now on: by this thread's loop where it has one, else by the threads. */
  async accept(): Promise<void> {
    const { messages, listeners } = this.#parts;
    if (this.own) turn(this.own.loop, messages);
    else await this.threads?.listen(listeners.forThreads);
  }

  /**
   * Clients are served already: threads beside this one's loop join it when they are ready.
   * @returns whether there are some
   */
  async letThreadsJoin(): Promise<boolean> {
    const { threads } = this;
    if (!this.own || threads === null) return false;
    await threads.start();
    if (threads.areEnding) return false;
    await threads.listen(this.#parts.listeners.forThreads);
    this.#parts.messages.info({ threads: threads.count }, 'data-plane threads serve, too');
    return true;
  }
}

/** Whether time that a thread spends waiting awake is not taken from what it waits for. */
const hasTimeToSpare = () => availableParallelism() > 1 && !hasCpuLimit();

function turn(loop: EventLoop, messages: Messages): void {
  loop.onError(error => messages.error({ error: stackOf(error) }, 'an event failed that nobody foresaw'));
  void loop.run();
}

function controlThread({ gateway, listeners, log, messages, acceptFailed }: LoopsParts): ControlThread {
  const { holder, admission, sessions } = gateway;
  return {
    answer: question => answerQuestion({ holder, admission }, question),
    takeRecords: ({ lines, count }) => log.append(lines, count),
    takeRequest: request => listeners.serveGiven(request),
    acceptFailed: ({ code, message }) => acceptFailed(Object.assign(new Error(message), { code })),
    recordLeft: left => sessions.recordLeft(left),
    tell: (level, fields, text) => messages[level](fields, text),
  };
}
