// The main figures as a picture: one panel a figure, one bar a peer, in plain SVG without any dependency.
// It draws medians only, and a bar that is missing stands for a figure that means nothing for the peer.

import { formatNumber, machineLine, type Result } from './result.ts';

interface Panel {
  key: string;
  title: string;
  unit: string;
  better: 'more' | 'less';
  digits: number;
}

const panels: readonly Panel[] = [
  { key: 'tunnelsCpuUs', title: 'Proxy CPU per CONNECT tunnel', unit: 'µs', better: 'less', digits: 0 },
  { key: 'tunnelsAllPerSecond', title: 'CONNECT tunnels, all cores', unit: '/s', better: 'more', digits: 0 },
  { key: 'bulk4CpuMs', title: 'Proxy CPU per GB, 4 tunnels', unit: 'ms', better: 'less', digits: 0 },
  { key: 'bulk4GbPerSecond', title: 'Bulk, 4 tunnels', unit: 'GB/s', better: 'more', digits: 2 },
  {
    key: 'awakeP50Us',
    title: 'Round trip of 1 byte, median, cores awake',
    unit: 'µs',
    better: 'less',
    digits: 1,
  },
  {
    key: 'requestsCpuUs',
    title: 'Proxy CPU per plain HTTP request',
    unit: 'µs',
    better: 'less',
    digits: 0,
  },
  {
    key: 'idle8000Kb',
    title: 'Private memory per idle tunnel, of 8,000',
    unit: 'KB',
    better: 'less',
    digits: 1,
  },
];

const width = 920;
const margin = 24;
const columns = 2;
const columnWidth = (width - margin * (columns + 1)) / columns;
const labelWidth = 112;
const valueWidth = 78;
const barHeight = 15;
const barGap = 5;
const titleHeight = 30;
const headHeight = 62;
const footHeight = 14;

/** Characters that fit the space for a peer's name, and the picture's width. */
const mostLabel = 17;
const mostFoot = 165;

const cut = (words: string, most: number) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);

const font = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"';
const ours = '#0b6e4f';
const theirs = '#9aa5b1';
const none = '#d9dee3';

const escaped = (text: string) =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');

interface TextStyle {
  size: number;
  weight?: number;
  colour?: string;
  anchor?: 'start' | 'end';
}

const text = (x: number, y: number, content: string, style: TextStyle) =>
  `<text x="${x}" y="${y}" font-size="${style.size}" font-weight="${style.weight ?? 400}" fill="${style.colour ?? '#1f2933'}" text-anchor="${style.anchor ?? 'start'}">${escaped(content)}</text>`;

interface Bar {
  name: string;
  value: number | null;
}

const colourOf = (name: string) =>
  name.startsWith('Sallyport') ? ours : name === 'no proxy' ? none : theirs;

function bar({ name, value }: Bar, panel: Panel, largest: number, x: number, y: number): string {
  const strong = name.startsWith('Sallyport') ? 600 : 400;
  const label = text(x + labelWidth - 8, y + 12, cut(name, mostLabel), {
    size: 12,
    weight: strong,
    anchor: 'end',
  });
  if (value === null) {
    return label + text(x + labelWidth + 4, y + 12, '–', { size: 12, colour: '#7b8794' });
  }
  const length = Math.max(1, (value / largest) * (columnWidth - labelWidth - valueWidth));
  const rectangle = `<rect x="${x + labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2" fill="${colourOf(name)}"/>`;
  const figure = `${formatNumber(value, panel.digits)} ${panel.unit}`;
  return (
    label +
    rectangle +
    text(x + labelWidth + length + 6, y + 12, figure, { size: 12, weight: strong, colour: '#3e4c59' })
  );
}

function drawPanel(panel: Panel, bars: Bar[], x: number, y: number): string {
  const largest = Math.max(...bars.map(({ value }) => value ?? 0));
  const hint = panel.better === 'more' ? 'more is better' : 'less is better';
  return [
    text(x, y + 14, panel.title, { size: 14, weight: 600 }),
    text(x + columnWidth, y + 14, hint, { size: 11, colour: '#7b8794', anchor: 'end' }),
    ...bars.map((each, i) => bar(each, panel, largest, x, y + titleHeight + i * (barHeight + barGap))),
  ].join('\n');
}

/** The peers of a panel: those that have the figure; without a proxy there is no CPU of one to draw. */
const barsOf = ({ peers }: Result, { key }: Panel): Bar[] =>
  peers
    .map(({ name, note, samples }) => ({
      name: note === null ? name : `${name}*`,
      value: samples.median(key),
    }))
    .filter(({ name, value }) => value !== null || name !== 'no proxy');

/** Small print: versions, what a reader must know of each peer, and the command. */
function footLines({ peers, command }: Result): string[] {
  const versions = peers
    .filter(({ version }) => version !== '-')
    .map(({ name, version }) => `${name} ${version}`);
  const notes = peers.filter(({ note }) => note !== null).map(({ name, note }) => `* ${name}: ${note}`);
  return [versions.join(' · '), ...notes, command].map(line => cut(line, mostFoot));
}

const grey = (x: number, y: number, content: string) => text(x, y, content, { size: 10, colour: '#7b8794' });

export function asPlot(result: Result): string {
  const drawn = panels.filter(({ key }) => result.peers.some(({ samples }) => samples.median(key) !== null));
  const panelHeight = titleHeight + result.peers.length * (barHeight + barGap) + 26;
  const panelsEnd = headHeight + 14 + Math.ceil(drawn.length / columns) * panelHeight;
  const foot = footLines(result);
  const height = panelsEnd + foot.length * footHeight + 12;
  const about = `${result.date}, ${machineLine()}; medians of ${result.rounds} interleaved rounds`;
  const place = (i: number) => ({
    x: margin + (i % columns) * (columnWidth + margin),
    y: headHeight + 14 + Math.floor(i / columns) * panelHeight,
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ${font}>`,
    `<rect width="${width}" height="${height}" rx="8" fill="#ffffff"/>`,
    text(margin, 30, 'Sallyport beside its peers, one run on one machine', { size: 18, weight: 700 }),
    text(margin, 50, about, { size: 11, colour: '#52606d' }),
    ...drawn.map((panel, i) => drawPanel(panel, barsOf(result, panel), place(i).x, place(i).y)),
    ...foot.map((line, i) => grey(margin, panelsEnd + i * footHeight + 4, line)),
    '</svg>',
    '',
  ].join('\n');
}
