// Bundles the page's code with Splunk's packages:
//
//   node build.mjs PACKAGES OUT
//
// PACKAGES is the folder with node_modules, OUT gets dashboard.js.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [, , packages, out] = process.argv;
const { build } = createRequire(join(packages, 'package.json'))('esbuild');

await build({
    entryPoints: { dashboard: join(dirname(fileURLToPath(import.meta.url)), 'main.jsx') },
    outdir: out,
    bundle: true,
    minify: true,
    nodePaths: [join(packages, 'node_modules')],
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.png': 'dataurl', '.svg': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
    jsx: 'transform',
    logLevel: 'warning',
});
