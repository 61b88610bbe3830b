/*
 * Makes OUT/pages.c from the pages: node web/build.mjs OUT. The npm packages are in OUT.
 *
 * A page is the layout around a file src/NAME.html; its script is src/NAME.js.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const source = path.join(path.dirname(fileURLToPath(import.meta.url)), 'src');
const out = path.resolve(process.argv[2]);
const { build } = createRequire(path.join(out, 'package.json'))('esbuild');

const PAGES = [
    { path: '/', name: 'clients', title: 'Clients' },
    { path: '/dashboard', name: 'dashboard', title: 'Dashboard' },
    { path: '/demos/sensors', name: 'sensors', title: 'Sensors' },
    { path: '/demos/stream', name: 'stream', title: 'Streams' },
];
const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.svg': 'image/svg+xml',
};

const read = (name) => readFileSync(path.join(source, name), 'utf8');

function pageText({ path: own, name, title }) {
    const links = PAGES.map((page) =>
        `<a href="${page.path}"${page.path === own ? ' aria-current="page"' : ''}>${page.title}</a>`);
    const values = { title, name, nav: links.join('\n'), main: read(`${name}.html`) };
    return read('layout.html').replace(/{{(\w+)}}/g, (_, key) => values[key].trim());
}

async function assets() {
    const result = await build({
        entryPoints: [...PAGES.map(({ name }) => `${name}.js`), 'style.css'],
        absWorkingDir: source,
        nodePaths: [path.join(out, 'node_modules')],
        outdir: path.join(out, 'assets'),
        bundle: true,
        splitting: true,
        format: 'esm',
        minify: true,
        target: 'es2022',
        legalComments: 'inline',
        write: false,
        logLevel: 'warning',
    });
    return result.outputFiles.map((file) => ({
        path: `/assets/${path.basename(file.path)}`,
        bytes: Buffer.from(file.contents),
    }));
}

const bytesOf = (name, bytes) =>
    `static const unsigned char ${name}[] = {${Array.from(bytes).join(',')}};\n`;

function sourceOf(files) {
    const blobs = [];
    const entries = files.map(({ path: url, bytes }, i) => {
        const type = TYPES[path.extname(url) || '.html'];
        const tag = createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
        const gzip = gzipSync(bytes, { level: 9 });
        const compressed = gzip.length < bytes.length;
        blobs.push(bytesOf(`bytes_${i}`, bytes));
        if (compressed) {
            blobs.push(bytesOf(`gzip_${i}`, gzip));
        }
        return `    {"${url}", "${type}", "${tag}", bytes_${i}, ${bytes.length}, `
            + (compressed ? `gzip_${i}, ${gzip.length}},\n` : 'NULL, 0},\n');
    });
    return `/* Made by web/build. */\n#include "hub/page.h"\n\n${blobs.join('')}\n`
        + `const struct page pages[] = {\n${entries.join('')}};\n`
        + `const size_t page_count = ${files.length};\nconst char *const pages_missing = NULL;\n`;
}

const files = [
    ...PAGES.map((page) => ({ path: page.path, bytes: Buffer.from(pageText(page)) })),
    ...await assets(),
    { path: '/assets/icon.svg', bytes: Buffer.from(read('icon.svg')) },
];
writeFileSync(path.join(out, 'pages.c'), sourceOf(files));
