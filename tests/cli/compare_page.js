// SPDX-License-Identifier: MIT
// The page of moviegen compare without a browser: its script runs on as much of a document as it uses, a rater votes by keys and
// by clicks, leaves, comes back and downloads.
//
//     node compare_page.js INDEX.HTML        prints one line of JSON: what was seen, and the file of votes
'use strict';
const fs = require('fs');
const vm = require('vm');
const html = fs.readFileSync(process.argv[2], 'utf8');
const json = /<script type='application\/json' id='data'>([^]*?)<\/script>/.exec(html)[1];
const script = /<script>([^]*?)<\/script>/.exec(html)[1];
const data = JSON.parse(json);

class Element {
  constructor(tag) { this.tagName = tag.toUpperCase(); this.children = []; this.text = ''; this.value = ''; }
  set textContent(text) { this.text = String(text); this.children = []; }
  get textContent() { return this.text; }
  appendChild(child) { this.children.push(child); child.parent = this; return child; }
  remove() { this.parent.children = this.parent.children.filter((c) => c !== this); }
  focus() { this.focused = true; }
  blur() { this.focused = false; }
  contains(other) { return this === other || this.children.some((c) => c.contains(other)); }
  scrollIntoView() { page.seen = this; }
  click() { page.clicked = this; }
  querySelectorAll(tag) {
    const own = this.children.filter((c) => c.tagName === tag.toUpperCase());
    return own.concat(...this.children.map((c) => c.querySelectorAll(tag)));
  }
  play() { this.playing = true; return Promise.resolve(); }
  pause() { this.playing = false; }
  getContext() { return { drawImage: (...words) => { page.drawn.push(words.slice(1)); } }; }
}
const kept = new Map();
let page;

function open(storage) {
  const ids = {}, keys = [];
  for (const [, id] of html.replace(/<script[^]*?<\/script>/g, '').matchAll(/id='([^']+)'/g)) ids[id] = new Element('div');
  ids.data = new Element('script');
  ids.data.text = json;
  const body = new Element('body');
  const all = () => [body, ...Object.values(ids)];
  page = { ids, drawn: [], images: [], blobs: [], time: 1000, frame: null, body };
  const find = (id) => ids[id] || all().flatMap((e) => e.children).find((e) => e.id === id);
  const world = {
    document: { getElementById: find, createElement: (tag) => new Element(tag), body,
      addEventListener: (what, run) => { if (what === 'keydown') keys.push(run); } },
    window: { scrollTo: () => {} },
    localStorage: storage || { getItem: () => { throw new Error('no storage'); }, setItem: () => { throw new Error('no storage'); } },
    performance: { now: () => page.time }, requestAnimationFrame: (run) => { page.frame = run; },
    Image: class extends Element { constructor() { super('img'); page.images.push(this); } },
    Blob: class { constructor(parts, options) { this.text = parts.join(''); this.type = options.type; } },
    URL: { createObjectURL: (blob) => { page.blobs.push(blob); return 'blob:' + page.blobs.length; } }
  };
  vm.runInNewContext(script, world);
  page.press = (key, target, more) => {
    let used = false;
    for (const run of keys) run({ key, target: target || body, preventDefault: () => { used = true; }, ...more });
    return used;
  };
  page.name = (text) => { ids.rater.value = text; ids.rater.onchange(); };
  page.radio = (axis, choice) => find('axis-' + axis).querySelectorAll('input').find((b) => b.value === choice);
  return page;
}
const storage = { getItem: (key) => (kept.has(key) ? kept.get(key) : null), setItem: (key, text) => { kept.set(key, text); } };
function check(what, condition) {
  if (!condition) { console.error('compare_page.js: ' + what); process.exit(1); }
}
function show_of(choice) { return data.axes.map((a, i) => page.radio(i, choice).checked); }

async function main() {
  const items = data.items.length, axes = data.axes.length;
  open(storage);
  check('the prompt of the first pair is shown', page.ids.prompt.text === data.items[0].prompt);
  page.press('1');
  check('a vote without a name is refused', page.ids.notice.text.includes('name') && page.ids.rater.focused && !show_of('left').some(Boolean));
  page.ids.save.onclick();
  check('so is a download', page.blobs.length === 0);
  page.name('Ann, "the \n first"');
  page.press('Enter', page.ids.rater);
  check('Enter leaves the name', !page.ids.rater.focused);
  check('keys typed into the name are no votes', !page.press('1', page.ids.rater) && !page.press('1', page.body, { ctrlKey: true }));
  const choices = ['left', 'tie', 'right'], keys = [['1', 'ArrowLeft'], ['2', '2'], ['3', 'ArrowRight']];
  for (let a = 0; a < axes; a++) check('keys vote', page.press(keys[a % 3][a % 2]));
  check('each axis has its vote', data.axes.every((x, a) => page.radio(a, choices[a % 3]).checked));
  check('progress is shown', page.ids.place.text === `Pair 1 of ${items}, ${axes} of ${items * axes} votes`);
  page.press('ArrowUp');
  check('the question is in sight', page.seen.id === 'axis-' + (axes - 2) && page.seen.className === 'now');
  page.radio(0, 'right').onchange();
  check('a click changes a vote', page.radio(0, 'right').checked && !page.radio(0, 'left').checked);
  page.press('n');
  check('n shows the next pair', page.ids.prompt.text === data.items[1].prompt && !show_of('left').some(Boolean));
  page.press('p');
  check('p shows the one before', page.ids.prompt.text === data.items[0].prompt && page.radio(0, 'right').checked);

  open(storage);
  check('who comes back goes on where votes are missing', page.ids.rater.value === 'Ann, "the \n first"' && page.ids.prompt.text === data.items[1].prompt);
  page.name('Bob');
  check('another rater begins anew', page.ids.prompt.text === data.items[0].prompt && !show_of('right').some(Boolean));
  page.name('Ann, "the \n first"');
  for (let i = 1; i < items; i++) {
    for (let a = 0; a < axes; a++) page.press('2');
    page.press('n');
  }
  check('the end is told', page.ids.place.text.includes(`${items * axes} of ${items * axes} votes`));
  page.ids.save.onclick();
  const link = page.clicked;
  check('votes are downloaded', link.download === 'votes-Ann-the-first-.csv' && link.href === 'blob:1' && !page.body.children.includes(link));
  const votes = page.blobs[0].text;

  open(null);
  page.name('Carl');
  page.press('3');
  check('a browser that keeps nothing says so', page.ids.notice.text.includes('keeps nothing') && page.radio(0, 'right').checked);

  /* films: pictures of frames are moved on, videos begin together */
  const film = data.items[0].left;
  let boxes = [page.ids.left.children[0], page.ids.right.children[0]];
  if (film.frames) {
    check('both pictures are asked for', page.images.slice(-2).map((i) => i.src).join() === `films/${film.name},films/${data.items[0].right.name}`);
    for (const image of page.images.slice(-2)) image.onload();
    await new Promise(setImmediate);
    for (const frame of [0, 1, film.frames - 1, film.frames + 2]) {
      page.drawn = [];
      page.time = 1000 + (frame + 0.5) * 1000 / film.fps;
      page.frame();
      const k = frame % film.frames, x = k % film.columns * film.width, y = Math.floor(k / film.columns) * film.height;
      check('frame ' + frame + ' is drawn', page.drawn.length === 2 && page.drawn.every((w) =>
        w.join() === [x, y, film.width, film.height, 0, 0, film.width, film.height].join()));
    }
  } else {
    check('films are shown on their sides', boxes[0].src === 'films/' + film.name && boxes[1].src === 'films/' + data.items[0].right.name);
    check('they loop, and are heard only if asked for', boxes.every((b) => b.loop && b.muted === !data.heard && b.controls === data.heard));
    boxes[0].oncanplay();
    await new Promise(setImmediate);
    check('none begins alone', !boxes[0].playing);
    boxes[1].onerror();
    await new Promise(setImmediate);
    check('one that cannot be played says so, and the other begins', !!boxes[0].playing === !data.heard && page.ids.right.text.includes('cannot be played'));
    page.press('n');
    boxes[0].onerror();
    check('one that is gone says nothing', page.ids.left.text === '' && page.ids.right.text === '');
    boxes = [page.ids.left.children[0], page.ids.right.children[0]];
    for (const box of boxes) box.oncanplay();
    await new Promise(setImmediate);
    check('both begin together, unless they are heard', boxes.every((b) => b.currentTime === 0 && !!b.playing === !data.heard));
    boxes[0].playing = boxes[1].playing = true;
    boxes[1].onplay();
    check('one is heard at a time', boxes[0].playing === !data.heard);
  }
  process.stdout.write(JSON.stringify({ votes, name: link.download }) + '\n');
}
main();
