// `sallyport import`: policies of other systems, and address data, as objects of this gateway. It prints them and
// installs nothing; what the translation loses is said line by line, and where something cannot be told nothing is
// printed.

import { readFile, stat } from 'node:fs/promises';
import { stringify } from 'yaml';
import { parseDocuments } from '../../config/documents.ts';
import { importAddressData } from '../../config/import/address-data.ts';
import { importCilium } from '../../config/import/cilium.ts';
import { importNetworkPolicies } from '../../config/import/network-policy.ts';
import type { Imported, ImportOptions } from '../../config/import/notes.ts';
import type { ImportedObject } from '../../config/import/objects.ts';
import { importSmokescreen } from '../../config/import/smokescreen.ts';
import { importSquid } from '../../config/import/squid.ts';
import { kindOf, unfoldLists } from '../../config/kinds.ts';
import type { Problem } from '../../config/policy/compile.ts';
import { policyKinds } from '../../config/policy/schema.ts';
import { formatProblem } from '../../config/problems.ts';
import { checkDocument } from '../../config/schema-problems.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';

/** Configurations are small; address data of the whole internet is some megabytes. */
const longestFile = { bytes: 64 * 1024 ** 2, text: '64 MiB' };

const dialects = ['cilium', 'smokescreen', 'squid', 'networkpolicy', 'addresses'] as const;

export const importCommand: Command = {
  name: 'import',
  summary: 'translate policies of Cilium, Smokescreen, Squid and Kubernetes, and address data',
  help: `Usage: sallyport import cilium|smokescreen|squid|networkpolicy FILE… [--wider] [--namespace NAME] [--output yaml|json]
       sallyport import addresses FILE… --select KEY[,KEY]… --name NAME [--output yaml|json]

Prints the objects that say the same here, for a file of policies or for kubectl apply. Standard error tells, with file
and line, what could not be kept: what an Allow would have to allow in excess is left out, what a Deny cannot tell is
denied whole. Look through both before you use the result, and try it: sallyport check, sallyport explain.

  cilium          CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, CiliumCIDRGroup
  smokescreen     an ACL of version v1; services become users of their name
  squid           squid.conf: acl and http_access; several files are one configuration
  networkpolicy   core NetworkPolicy, the part about destinations outside the cluster
  addresses       lines of first,last,country or first,last,number to a destination set

  --wider              take translations that allow more than the original where no exact one exists; each is told
  --namespace NAME     for objects that name none
  --select KEY[,KEY]…  countries (KP) or autonomous systems (AS64496)
  --name NAME          of the destination set
  --output yaml|json   documents (default), or one list

Exit codes: 0 translated (there may be warnings), 1 not translated, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(argv, {
      output: { type: 'string', default: 'yaml' },
      wider: { type: 'boolean', default: false },
      namespace: { type: 'string' },
      select: { type: 'string' },
      name: { type: 'string' },
    } as const);
    const output = oneOf('output', values.output, ['yaml', 'json']);
    const [given, ...paths] = positionals;
    if (given === undefined) throw new Misuse(`no dialect given, one of ${dialects.join(', ')}`);
    const dialect = dialects.find(each => each === given);
    if (dialect === undefined)
      throw new Misuse(`unknown dialect ${JSON.stringify(given)}, one of ${dialects.join(', ')}`);
    if (paths.length === 0) throw new Misuse('no FILE given');
    const options = { wider: values.wider, namespace: values.namespace ?? null };
    const translate = translator(dialect, values);
    const files = await readFiles(paths);
    const imported = 'problems' in files ? { objects: [], ...files } : await translate(files.texts, options);
    return report(await checked(imported), output, parts);
  },
};

interface TextFile {
  readonly file: string;
  readonly text: string;
}

type Translate = (files: readonly TextFile[], options: ImportOptions) => Imported | Promise<Imported>;

function translator(
  dialect: (typeof dialects)[number],
  { select, name }: { select?: string; name?: string },
): Translate {
  const isAddresses = dialect === 'addresses';
  if (isAddresses !== (select !== undefined) || isAddresses !== (name !== undefined))
    throw new Misuse('--select and --name belong to import addresses, which needs both');
  switch (dialect) {
    case 'cilium':
      return ofDocuments(importCilium);
    case 'smokescreen':
      return ofDocuments(importSmokescreen);
    case 'networkpolicy':
      return ofDocuments(importNetworkPolicies);
    case 'squid':
      return importSquid;
    case 'addresses':
      return (files, options) =>
        importAddressData(files, { name: name!, keys: select!.split(',').filter(Boolean) }, options);
  }
}

function ofDocuments(translate: typeof importCilium): Translate {
  return async (files, options) => {
    const parsed = await Promise.all(files.map(({ text, file }) => parseDocuments(text, file)));
    const documents = parsed.flatMap(each => each.documents).flatMap(unfoldLists);
    const { objects, problems } = translate(documents, options);
    return { objects, problems: [...parsed.flatMap(each => each.problems), ...problems] };
  };
}

async function readFiles(paths: readonly string[]): Promise<{ texts: TextFile[] } | { problems: Problem[] }> {
  const texts: TextFile[] = [];
  const problems: Problem[] = [];
  for (const file of paths) {
    try {
      texts.push({ file, text: await readText(file) });
    } catch (error) {
      const message = `cannot read ${JSON.stringify(file)}: ${(error as Error).message}`;
      problems.push({
        file,
        line: 1,
        column: 1,
        severity: 'error',
        message,
        remedy: 'try the path of a text file',
      });
    }
  }
  return problems.length > 0 ? { problems } : { texts };
}

async function readText(file: string): Promise<string> {
  const found = await stat(file);
  if (!found.isFile()) throw new Error('it is no regular file');
  if (found.size > longestFile.bytes) throw new Error(`it is longer than ${longestFile.text}`);
  return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
}

/** What the gateway itself would refuse is an error here: names of other systems may be none for it. */
async function checked({ objects, problems }: Imported): Promise<Imported> {
  const { documents } = await parseDocuments(objects.map(yamlOf).join(''), 'translation');
  const refused = documents.flatMap(document => {
    const kind = kindOf(document, policyKinds);
    return 'message' in kind ? [kind] : (checkDocument(kind.schema, document).problems ?? []);
  });
  return { objects, problems: [...problems, ...refused] };
}

function yamlOf(object: ImportedObject): string {
  return `---\n${stringify(object, { aliasDuplicateObjects: false, lineWidth: 110 })}`;
}

function report(
  { objects, problems }: Imported,
  output: 'yaml' | 'json',
  { stdout, stderr }: CommandParts,
): ExitCode {
  for (const problem of problems) stderr.write(`${formatProblem(problem)}\n`);
  if (problems.some(({ severity }) => severity === 'error')) return 1;
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  stdout.write(output === 'json' ? `${JSON.stringify(list, null, 2)}\n` : objects.map(yamlOf).join(''));
  return 0;
}
