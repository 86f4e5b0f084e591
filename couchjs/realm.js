// The frame around one user function. It is evaluated in a fresh context before any of the user's text, and takes hold of the built-ins
// that it needs, so that a function which replaces them changes nothing here. Its value is the function that the host calls:
// call(operation, a, b, c, d) returns "o" and the result, "t" and what was thrown, or "x" and ["name", "reason"]; the second
// character says whether there is something to read by call("log").
(function () {
  "use strict";
  const uncurried = Function.prototype.call.bind.bind(Function.prototype.call);
  const parse = JSON.parse, stringify = JSON.stringify, isArray = Array.isArray, text = String, apply = Reflect.apply;
  const freeze = Object.freeze, keys = Object.keys, create = Object.create;
  const slice = uncurried(String.prototype.slice), split = uncurried(String.prototype.split), trimmed = uncurried(String.prototype.trimEnd);
  const has = uncurried(Object.prototype.hasOwnProperty), endsWith = uncurried(String.prototype.endsWith);
  const evaluate = eval; // called by another name it evaluates in the global scope
  const global = globalThis, Syntax = SyntaxError;
  const longest = 65536;

  let fun, ddoc = freeze({}), request, emitted = false, log = "", cache = create(null);

  function define(name, value) {
    const d = create(null);
    d.value = value; d.writable = true; d.configurable = true; d.enumerable = false;
    Object.defineProperty(global, name, d);
  }
  delete global.SharedArrayBuffer;
  delete global.Atomics;
  define("emit", function () { emitted = true; });
  define("sum", function (values) { let total = 0; for (let i = 0; i < values.length; i++) total += values[i]; return total; });
  define("toJSON", function (value) { return stringify(value); });
  define("isArray", function (value) { return isArray(value); });
  define("log", function (message) {
    if (log.length < 16384) log += slice(typeof message === "string" ? message : text(stringify(message)), 0, 2048) + "\n";
  });

  function deepFreeze(value) {
    if (typeof value === "object" && value !== null) {
      const names = keys(value);
      for (let i = 0; i < names.length; i++) deepFreeze(value[names[i]]);
      freeze(value);
    }
    return value;
  }

  // A failure is thrown as CouchDB's own code throws it: ["error", name, reason].
  function fail(name, reason) { return ["error", name, reason]; }

  function load(path, name) {
    let at = ddoc;
    for (let i = 0; i < path.length; i++) {
      if (typeof at !== "object" || at === null || !has(at, path[i])) {
        throw fail("invalid_require_path", "Object has no property \"" + path[i] + "\" in require('" + name + "')");
      }
      at = at[path[i]];
    }
    if (typeof at !== "string") throw fail("invalid_require_path", "Must require a JavaScript string, not: " + typeof at);
    return at;
  }

  // requireFrom returns the require of a module in a directory, as a string that ends in "/" or is empty.
  function requireFrom(directory) {
    return function require(name) {
      name = text(name);
      const parts = split(name, "/");
      const relative = parts[0] === "." || parts[0] === "..";
      const all = relative && directory !== "" ? split(directory, "/") : [];
      const path = [];
      let n = 0;
      const step = function (part) {
        if (part === "" || part === ".") return;
        if (part === "..") {
          if (n === 0) throw fail("invalid_require_path", "Object has no parent in require('" + name + "')");
          path.length = --n;
          return;
        }
        path[n++] = part;
      };
      for (let i = 0; i < all.length; i++) step(all[i]);
      for (let i = 0; i < parts.length; i++) step(parts[i]);
      let id = "", parent = "";
      for (let i = 0; i < n; i++) { parent = id; id += (i > 0 ? "/" : "") + path[i]; }
      if (cache[id]) return cache[id].exports;
      const source = load(path, name);
      const module = { id: id, exports: {} };
      cache[id] = module;
      try {
        const body = evaluate("(function (module, exports, require) { " + source + "\n})");
        apply(body, global, [module, module.exports, requireFrom(parent)]);
      } catch (e) {
        delete cache[id];
        if (isArray(e)) throw e;
        throw fail("compilation_error", "Module require('" + name + "') raised error " + text(e));
      }
      return module.exports;
    };
  }

  function compile(source, modules) {
    if (modules !== "") {
      ddoc = deepFreeze(parse(modules));
      define("require", requireFrom(""));
    }
    let body = trimmed(source);
    while (endsWith(body, ";")) body = trimmed(slice(body, 0, -1));
    let value;
    try {
      try {
        value = evaluate("(" + body + "\n)");
      } catch (e) {
        if (!(e instanceof Syntax)) throw e;
        // Not an expression: it may be statements of which the last gives a function.
        try { value = evaluate(source); } catch (second) { throw second instanceof Syntax ? e : second; }
      }
    } catch (e) {
      if (isArray(e)) throw e;
      throw fail("compilation_error", text(e) + " (" + slice(source, 0, 1024) + ")");
    }
    if (typeof value !== "function") {
      throw fail("compilation_error", "Expression does not eval to a function. (" + slice(source, 0, 1024) + ")");
    }
    fun = value;
    return "";
  }

  function thrown(kind, reason) {
    let json = stringify(reason);
    if (json === undefined) json = "null";
    if (json.length > longest) json = "\"the reason is too long to be shown\"";
    return { refusal: kind + json };
  }

  function validate(newDoc, oldDoc, userCtx, secObj) {
    const args = [parse(newDoc), parse(oldDoc), parse(userCtx), parse(secObj)];
    try {
      apply(fun, ddoc, args);
    } catch (e) {
      if (typeof e === "object" && e !== null) {
        if (has(e, "forbidden")) return thrown("f", e.forbidden);
        if (has(e, "unauthorized")) return thrown("u", e.unauthorized);
      }
      throw e;
    }
    return "";
  }

  // describe makes ["name", "reason"] of anything that was thrown.
  function describe(e) {
    let name = "unknown_error", reason;
    if (isArray(e) && e.length >= 3 && (e[0] === "error" || e[0] === "fatal")) {
      name = e[1]; reason = e[2];
    } else if (typeof e === "object" && e !== null && e.error && e.reason) {
      name = e.error; reason = e.reason;
    } else if (typeof e === "object" && e !== null && e.name) {
      name = e.name; reason = e.message;
    } else {
      reason = e;
    }
    if (typeof reason === "object" && reason !== null) reason = stringify(reason);
    return stringify([slice(text(name), 0, 256), slice(text(reason), 0, longest)]);
  }

  function perform(operation, a, b, c, d) {
    switch (operation) {
      case "compile": return compile(a, b);
      case "validate": return validate(a, b, c, d);
      case "request": request = deepFreeze(parse(a)); return "";
      case "filter": return apply(fun, ddoc, [parse(a), request]) ? "1" : "0";
      case "emits": emitted = false; apply(fun, ddoc, [parse(a)]); return emitted ? "1" : "0";
    }
    throw fail("unknown_command", operation);
  }

  return function call(operation, a, b, c, d) {
    if (operation === "log") { const all = log; log = ""; return all; }
    let head = "o", result;
    try {
      result = perform(operation, a, b, c, d);
      if (typeof result === "object") { head = "t"; result = result.refusal; }
    } catch (e) {
      head = "x";
      try { result = describe(e); } catch (again) { result = "[\"unknown_error\",\"the function threw something that cannot be shown\"]"; }
    }
    return head + (log === "" ? "0" : "1") + result;
  };
})()
