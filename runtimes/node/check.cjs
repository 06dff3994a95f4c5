'use strict';
// The check of a JavaScript source at its deploy: is its syntax right, is it an ES module, where is its entry? The
// source is parsed, never run.
//
//     node --expose-internals --experimental-vm-modules --no-warnings --stack-size=6000 check.cjs NAME.js <source
//
// writes {"entry": "fetch" | "handler" | "script", "module": …} or {"error": "NAME.js:LINE:COLUMN: …"} to descriptor 3.
const fs = require('node:fs');
const vm = require('node:vm');
const acorn = require('internal/deps/acorn/acorn/dist/acorn');
const { decorateErrorStack } = require('internal/util');

const LINE_SHOWN = 160;
const WRAPPER = ['exports', 'require', 'module', '__filename', '__dirname'];
// Built-ins whose construction or call computes a value and does nothing else.
const PURE = new Set([
  'Array', 'BigInt', 'Boolean', 'Date', 'Error', 'Float32Array', 'Float64Array', 'Int32Array', 'Map', 'Number', 'Object',
  'RegExp', 'Set', 'String', 'Symbol', 'TextDecoder', 'TextEncoder', 'URL', 'Uint8Array', 'WeakMap', 'WeakSet', 'require',
]);

class SourceError extends Error {}

// ---- syntax ----

function decode(bytes, file) {
  const text = bytes.toString('utf8');
  const again = Buffer.from(text, 'utf8');
  if (!again.equals(bytes)) {
    let at = 0;
    while (at < bytes.length && bytes[at] === again[at]) at++;
    const line = bytes.subarray(0, at).filter((byte) => byte === 10).length + 1;
    throw new SourceError(`${file}:${line}: the source is not valid UTF-8`);
  }
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}

// V8 puts "FILE:LINE", the line and a row of carets before the stack of a SyntaxError.
function describe(error, file, source) {
  if (error instanceof RangeError) return `${file}: SyntaxError: the source is nested too deeply`;
  decorateErrorStack(error); // for a module nobody has done it yet
  const head = String(error.stack).split('\n');
  const line = head[0].startsWith(`${file}:`) ? Number(head[0].slice(file.length + 1)) : 0;
  const column = line ? (head.slice(1, 4).find((row) => /^\s*\^+\s*$/.test(row)) ?? '').indexOf('^') + 1 : 0;
  const where = line ? `${file}:${line}:${column || 1}` : file;
  const shown = line ? source.split(/\r\n|[\n\r\u2028\u2029]/)[line - 1] ?? '' : '';
  const message = `${where}: SyntaxError: ${error.message}`;
  if (!column || shown.length > LINE_SHOWN) return message;
  return `${message}\n${shown}\n${shown.slice(0, column - 1).replace(/\S/g, ' ')}^`;
}

function compileError(compile) {
  try {
    compile();
    return null;
  } catch (error) {
    return error;
  }
}

// CommonJS when it compiles as that, else an ES module: so import, export and top-level await make it one.
function findKind(source, file) {
  const asCommonJs = compileError(() => vm.compileFunction(source, WRAPPER, { filename: file }));
  if (asCommonJs === null) return false;
  const asModule = compileError(() => new vm.SourceTextModule(source, { identifier: file }));
  if (asModule === null) return true;
  const meantModule = /import statement|import\.meta|token 'export'|await is only valid/.test(asCommonJs.message);
  throw new SourceError(describe(meantModule ? asModule : asCommonJs, file, source));
}

function parse(source, isModule, file) {
  try {
    return acorn.parse(source, {
      ecmaVersion: 'latest',
      sourceType: isModule ? 'module' : 'script',
      allowReturnOutsideFunction: true,
      allowHashBang: true,
      locations: true,
    });
  } catch (error) {
    if (error instanceof RangeError) throw new SourceError(describe(error, file, source));
    const { line, column } = error.loc ?? { line: 1, column: 0 };
    const reason = `${String(error.message).replace(/ \(\d+:\d+\)$/, '')} (newer than this Node.js can check?)`;
    throw new SourceError(`${file}:${line}:${column + 1}: SyntaxError: ${reason}`);
  }
}

// ---- names ----

function nameOf(node) {
  return node.type === 'Identifier' ? node.name : String(node.value);
}

function memberName(node) {
  if (node.type !== 'MemberExpression') return null;
  if (!node.computed) return node.property.name ?? null;
  return node.property.type === 'Literal' ? String(node.property.value) : null;
}

// Statements at the top level, those inside of blocks, if and try included.
function* statements(body) {
  for (const node of body) {
    if (!node) continue;
    yield node;
    if (node.type === 'BlockStatement') yield* statements(node.body);
    if (node.type === 'IfStatement') yield* statements([node.consequent, node.alternate]);
    if (node.type === 'LabeledStatement') yield* statements([node.body]);
    if (node.type === 'TryStatement') yield* statements([node.block, node.handler?.body, node.finalizer]);
  }
}

// Every `left = right` of an expression at the top level: a = b = c, and (a = b, c = d).
function* assignments(node) {
  if (node?.type === 'AssignmentExpression') {
    yield node;
    yield* assignments(node.right);
  } else if (node?.type === 'SequenceExpression') {
    for (const part of node.expressions) yield* assignments(part);
  }
}

// What the source binds and exports. An exported value of which only the name is known is `true`.
class Names {
  constructor(program) {
    this.bound = new Map();
    this.exported = new Map();
    this.members = new Map(); // name -> members assigned to it later
    this.whole = []; // values of module.exports
    for (const node of statements(program.body)) this.read(node);
  }

  read(node) {
    if (node.type === 'ExpressionStatement') this.readExpression(node.expression);
    else if (node.type === 'ExportDefaultDeclaration') this.readDefault(node.declaration);
    else if (node.type === 'ExportNamedDeclaration') this.readExport(node);
    else this.readDeclaration(node, () => {});
  }

  readDefault(declaration) {
    if (declaration.id) this.bound.set(declaration.id.name, declaration);
    this.exported.set('default', declaration);
  }

  readExport(node) {
    if (node.declaration) this.readDeclaration(node.declaration, (name, value) => this.exported.set(name, value));
    for (const { local, exported } of node.specifiers) {
      this.exported.set(nameOf(exported), node.source ? true : { type: 'Identifier', name: nameOf(local) });
    }
  }

  readDeclaration(node, onName) {
    const bind = (name, value) => {
      this.bound.set(name, value);
      onName(name, value);
    };
    if (node.type === 'FunctionDeclaration' || node.type === 'ClassDeclaration') bind(node.id.name, node);
    if (node.type === 'ImportDeclaration') for (const { local } of node.specifiers) bind(local.name, true);
    if (node.type !== 'VariableDeclaration') return;
    for (const { id, init } of node.declarations) {
      if (id.type === 'Identifier') bind(id.name, init ?? true);
      else for (const name of patternNames(id)) bind(name, true);
      if (init) this.readExpression(init);
    }
  }

  readExpression(node) {
    for (const { left, right } of assignments(node)) this.readAssignment(left, right);
    if (node.type !== 'CallExpression' || !isExports(node.arguments[0])) return;
    const called = memberName(node.callee);
    if (called === 'assign') this.whole.push(...node.arguments.slice(1));
    if (called === 'defineProperty' && node.arguments[1]?.type === 'Literal') {
      this.exported.set(String(node.arguments[1].value), true);
    }
  }

  readAssignment(left, right) {
    if (left.type === 'Identifier') {
      this.bound.set(left.name, right);
    } else if (isModuleExports(left)) {
      this.whole.push(right);
    } else if (left.type === 'MemberExpression' && isExports(left.object)) {
      this.exported.set(memberName(left), right);
    } else if (left.type === 'MemberExpression' && left.object.type === 'Identifier') {
      const { name } = left.object;
      this.members.set(name, [...(this.members.get(name) ?? []), memberName(left)]);
    }
  }

  // What a name stands for; null when it is bound nowhere in the source.
  resolve(node, depth = 0) {
    if (node?.type === 'Identifier' && depth < 16) return this.resolve(this.bound.get(node.name) ?? null, depth + 1);
    if (node?.type === 'AssignmentExpression' && depth < 16) return this.resolve(node.right, depth + 1);
    return node;
  }

  isCallable(node) {
    const value = this.resolve(node);
    if (value === null) return false;
    return value === true || !/^(Literal|TemplateLiteral|ObjectExpression|ArrayExpression)$/.test(value.type);
  }

  // Whether an exported value has a function of that name; `unknown` is the answer when the source does not say.
  has(node, name, unknown, depth = 0) {
    if (depth > 16) return false;
    if (node?.type === 'Identifier' && this.members.get(node.name)?.includes(name)) return true;
    const value = this.resolve(node);
    if (value === true) return unknown;
    switch (value?.type) {
      case 'ObjectExpression':
        return value.properties.some((property) => {
          if (property.type === 'SpreadElement') return this.has(property.argument, name, false, depth + 1);
          return !property.computed && nameOf(property.key) === name && this.isCallable(property.value);
        });
      case 'ClassDeclaration':
      case 'ClassExpression':
        return value.body.body.some((member) => member.static && member.key && nameOf(member.key) === name);
      case 'NewExpression': {
        const made = this.resolve(value.callee);
        return made?.body?.body?.some ? this.instanceHas(made, name, unknown, depth) : unknown;
      }
      case 'CallExpression':
        return unknown || value.arguments.some((argument) => this.has(argument, name, false, depth + 1));
      case 'AwaitExpression':
        return unknown;
      default:
        return false;
    }
  }

  instanceHas(made, name, unknown, depth) {
    if (!/^Class/.test(made.type)) return unknown;
    if (made.body.body.some((member) => !member.static && member.key && nameOf(member.key) === name)) return true;
    if (!made.superClass) return false;
    const base = this.resolve(made.superClass);
    return base?.body?.body?.some && depth < 16 ? this.instanceHas(base, name, unknown, depth + 1) : unknown;
  }

  exports(name) {
    if (this.exported.has(name) && this.isCallable(this.exported.get(name))) return true;
    if (this.whole.some((value) => this.has(value, name, false))) return true;
    return this.exported.has('default') && this.has(this.exported.get('default'), name, name === 'fetch');
  }
}

function* patternNames(pattern) {
  if (pattern?.type === 'Identifier') yield pattern.name;
  else if (pattern?.type === 'AssignmentPattern') yield* patternNames(pattern.left);
  else if (pattern?.type === 'RestElement') yield* patternNames(pattern.argument);
  else if (pattern?.type === 'ArrayPattern') for (const part of pattern.elements) yield* patternNames(part);
  else if (pattern?.type === 'ObjectPattern') for (const part of pattern.properties) yield* patternNames(part.value ?? part);
}

function isModuleExports(node) {
  return memberName(node) === 'exports' && node.object.type === 'Identifier' && node.object.name === 'module';
}

function isExports(node) {
  if (!node) return false;
  return (node.type === 'Identifier' && node.name === 'exports') || isModuleExports(node);
}

// ---- does it do anything? ----

function isPure(node) {
  if (node.type === 'CallExpression' && memberName(node.callee) === 'freeze') return true;
  return node.callee.type === 'Identifier' && PURE.has(node.callee.name);
}

function isExportAssignment(node) {
  return node.type === 'AssignmentExpression' && (isExports(node.left) || isExports(node.left.object));
}

function acts(node) {
  if (!node || typeof node.type !== 'string') return false;
  switch (node.type) {
    case 'FunctionDeclaration': case 'FunctionExpression': case 'ArrowFunctionExpression': case 'ImportDeclaration':
    case 'ImportExpression': case 'MethodDefinition':
      return false;
    case 'CallExpression': case 'NewExpression':
      if (!isPure(node)) return true;
      break;
    case 'AwaitExpression':
      return node.argument.type !== 'ImportExpression';
    case 'AssignmentExpression':
      if (!isExportAssignment(node)) return true;
      break;
    case 'TaggedTemplateExpression': case 'UpdateExpression': case 'ThrowStatement': case 'ForOfStatement': case 'StaticBlock':
      return true;
  }
  return Object.values(node).some((part) => (Array.isArray(part) ? part.some(acts) : part && typeof part === 'object' && acts(part)));
}

function check(bytes, file) {
  const source = decode(bytes, file);
  const module = findKind(source, file);
  const program = parse(source, module, file);
  try {
    const names = new Names(program);
    for (const entry of ['fetch', 'handler']) if (names.exports(entry)) return { entry, module };
    if (program.body.some(acts)) return { entry: 'script', module };
  } catch (error) {
    throw error instanceof RangeError ? new SourceError(describe(error, file, source)) : error;
  }
  throw new SourceError(
    `${file} has no entry: export a function 'handler' or an object with a function 'fetch', or write a script that prints its answer`,
  );
}

function main() {
  let report;
  try {
    report = check(fs.readFileSync(0), process.argv[2]);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    report = { error: error.message };
  }
  fs.writeSync(3, JSON.stringify(report));
}

main();
