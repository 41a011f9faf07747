// Reads a file with speedscope's own importer and prints what it made of it, as JSON.
//
//     node speedscope_import.cjs PACKAGE_FOLDER FILE
//
// The package is a program for browsers. Its importer needs none: it is taken out of the bundle
// before the page begins.
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const [release, file] = [path.join(process.argv[2], "dist", "release"), process.argv[3]];
const bundle = fs.readdirSync(release).find((name) => /^speedscope-.*\.js$/.test(name));
let code = fs.readFileSync(path.join(release, bundle), "utf8");
const [, names] = /(\w+)=\{\};\$?\w+\(\1,\{[^}]*importProfileGroupFromText:/.exec(code);
const [, start] = new RegExp(`\\((\\w+)\\(\\),${names}\\)`).exec(code);
code = code.replace("(()=>{", `(()=>{globalThis.importer=()=>(${start}(),${names});`);
try {
  vm.runInThisContext(code);
} catch (error) {
  if (!globalThis.importer) throw error; // the page found no browser, which is as it should be
}
process.on("unhandledRejection", () => {});
const text = fs.readFileSync(file, "utf8");
globalThis.importer().importProfileGroupFromText(path.basename(file), text).then((group) => {
  const profiles = group.profiles.map((profile) => {
    const events = [];
    profile.forEachCall(
      (node, at) => events.push(["O", node.frame.name, at]),
      (node, at) => events.push(["C", node.frame.name, at])
    );
    const weights = {};
    profile.forEachFrame((frame) => (weights[frame.name] = frame.getSelfWeight()));
    return { name: profile.getName(), total: profile.getTotalWeight(), weights, events };
  });
  process.stdout.write(JSON.stringify(profiles), () => process.exit(0));
});
