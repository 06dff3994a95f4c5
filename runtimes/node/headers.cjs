'use strict';
// The Fetch standard's Headers (https://fetch.spec.whatwg.org/#headers-class), without Node.js's own, whose first
// use loads a library for 20 ms and whose every use costs more than a whole call may.

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FORBIDDEN_VALUE = /[\0\r\n]|[^\x00-\xff]/;
const OUTER_SPACE = /^[\t\r\n ]+|[\t\r\n ]+$/g;

function checkName(name) {
  const text = String(name);
  if (!TOKEN.test(text)) throw new TypeError(`Headers: ${JSON.stringify(text)} is an invalid header name.`);
  return text;
}

function checkValue(value) {
  const text = String(value).replace(OUTER_SPACE, '');
  if (FORBIDDEN_VALUE.test(text)) {
    throw new TypeError(`Headers: ${JSON.stringify(text)} is an invalid header value.`);
  }
  return text;
}

class Headers {
  // Name as given, name in lower case, value, in the order of append.
  #entries = [];

  constructor(init = undefined) {
    if (init === undefined || init === null) return;
    if (typeof init !== 'object' && typeof init !== 'function') {
      throw new TypeError('Headers: the argument is neither a record nor a sequence of pairs.');
    }
    if (#entries in init) {
      this.#entries = init.#entries.map((entry) => [...entry]);
    } else if (typeof init[Symbol.iterator] === 'function') {
      for (const pair of init) {
        const both = [...pair];
        if (both.length !== 2) throw new TypeError('Headers: an entry is not a pair of name and value.');
        this.append(both[0], both[1]);
      }
    } else {
      for (const name of Reflect.ownKeys(init)) {
        if (Object.prototype.propertyIsEnumerable.call(init, name)) this.append(name, init[name]);
      }
    }
  }

  // From the wire: name, value, name, value, …; names are lower case and checked.
  static fromList(list) {
    const headers = new Headers();
    for (let i = 0; i < list.length; i += 2) headers.#entries.push([list[i], list[i], list[i + 1]]);
    return headers;
  }

  // To the wire: name and value in the order of append.
  static entriesOf(headers) {
    return headers.#entries.map(([name, , value]) => [name, value]);
  }

  static isHeaders(value) {
    return typeof value === 'object' && value !== null && #entries in value;
  }

  append(name, value) {
    const given = checkName(name);
    this.#entries.push([given, given.toLowerCase(), checkValue(value)]);
  }

  delete(name) {
    const lower = checkName(name).toLowerCase();
    this.#entries = this.#entries.filter((entry) => entry[1] !== lower);
  }

  get(name) {
    const lower = checkName(name).toLowerCase();
    const values = this.#entries.filter((entry) => entry[1] === lower).map((entry) => entry[2]);
    if (values.length === 0) return null;
    return values.join(lower === 'cookie' ? '; ' : ', ');
  }

  getSetCookie() {
    return this.#entries.filter((entry) => entry[1] === 'set-cookie').map((entry) => entry[2]);
  }

  has(name) {
    const lower = checkName(name).toLowerCase();
    return this.#entries.some((entry) => entry[1] === lower);
  }

  set(name, value) {
    const given = checkName(name);
    const lower = given.toLowerCase();
    const text = checkValue(value);
    const at = this.#entries.findIndex((entry) => entry[1] === lower);
    if (at < 0) {
      this.#entries.push([given, lower, text]);
      return;
    }
    this.#entries[at][2] = text;
    this.#entries = this.#entries.filter((entry, i) => i <= at || entry[1] !== lower);
  }

  forEach(callback, thisArg = undefined) {
    if (typeof callback !== 'function') throw new TypeError('Headers.forEach: the callback is no function.');
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }

  // Sorted by name, as the standard has it; each Set-Cookie by itself.
  *entries() {
    const names = [...new Set(this.#entries.map((entry) => entry[1]))].sort();
    for (const name of names) {
      if (name !== 'set-cookie') yield [name, this.get(name)];
      else for (const value of this.getSetCookie()) yield [name, value];
    }
  }

  *keys() {
    for (const [name] of this.entries()) yield name;
  }

  *values() {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  get [Symbol.toStringTag]() {
    return 'Headers';
  }

  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    return `Headers ${inspect(Object.fromEntries(this), options)}`;
  }
}

module.exports = { Headers };

//# sourceURL=faas:headers
