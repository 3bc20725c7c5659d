"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  function bytes(text) {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found.buffer;
  }
  const xy = new Float64Array(bytes(data.xy));
  const start = new Uint32Array(bytes(data.start));
  const loop = new Uint32Array(bytes(data.loop));
  const layerOf = new Uint8Array(bytes(data.layer));
  const unitOf = new Uint32Array(bytes(data.unit));
  const beside = new Int32Array(bytes(data.beside));
  const region = new Uint32Array(bytes(data.region));
  const classOf = new Uint16Array(bytes(data.classes));
  const area = new Float64Array(bytes(data.area));
  const words = data.states ? new Uint32Array(bytes(data.states)) : null;
  const pieces = start.length - 1;
  const layers = data.layers.length;
  const SIDE = 255, CLASS = 254;
  const [left, right, bottom, top] = data.bounds;

  const canvas = document.getElementById("picture");
  const stage = document.getElementById("stage");
  const tip = document.getElementById("tip");
  const about = document.getElementById("about");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = new Array(layers).fill(true);
  let boundary = true, fill = "class", pinned = -1, hovered = -1;
  // the picture drawn last, and for which view: moving shows it shifted and scaled until it is drawn anew
  const back = document.createElement("canvas");
  let drawnFor = null, waiting = 0, drawings = 0;
  const view = { x: (left + right) / 2, y: (bottom + top) / 2, scale: 1 };

  const owner = new Uint32Array(loop.length);
  for (let p = 0; p < pieces; p++) owner.fill(p, start[p], start[p + 1]);

  // a grid of buckets finds the polygons near a place
  const side = Math.max(1, Math.min(512, Math.floor(Math.sqrt(pieces))));
  const cellX = (x) => Math.min(side - 1, Math.max(0, Math.floor((x - left) / (right - left) * side)));
  const cellY = (y) => Math.min(side - 1, Math.max(0, Math.floor((y - bottom) / (top - bottom) * side)));
  const box = new Float64Array(4 * pieces);
  const begin = new Uint32Array(side * side + 1);
  const overCells = (p, act) => {
    const last = [cellX(box[4 * p + 1]), cellY(box[4 * p + 3])];
    for (let x = cellX(box[4 * p]); x <= last[0]; x++)
      for (let y = cellY(box[4 * p + 2]); y <= last[1]; y++) act(x * side + y);
  };
  for (let p = 0; p < pieces; p++) {
    let a = Infinity, b = -Infinity, c = Infinity, d = -Infinity;
    for (let i = start[p]; i < start[p + 1]; i++) {
      const x = xy[2 * loop[i]], y = xy[2 * loop[i] + 1];
      a = Math.min(a, x); b = Math.max(b, x); c = Math.min(c, y); d = Math.max(d, y);
    }
    box.set([a, b, c, d], 4 * p);
    overCells(p, (cell) => { begin[cell + 1]++; });
  }
  for (let i = 0; i < side * side; i++) begin[i + 1] += begin[i];
  const bucket = new Uint32Array(begin[side * side]), filled = begin.slice();
  for (let p = 0; p < pieces; p++) overCells(p, (cell) => { bucket[filled[cell]++] = p; });

  function pieceAt(x, y) {
    if (!(x >= left && x <= right && y >= bottom && y <= top)) return -1;
    const cell = cellX(x) * side + cellY(y);
    for (let k = begin[cell]; k < begin[cell + 1]; k++) {
      const p = bucket[k];
      let inside = true;
      for (let i = start[p]; i < start[p + 1] && inside; i++) {
        const v = 2 * loop[i], w = 2 * loop[i + 1 < start[p + 1] ? i + 1 : start[p]];
        inside = (xy[w] - xy[v]) * (y - xy[v + 1]) >= (xy[w + 1] - xy[v + 1]) * (x - xy[v]);
      }
      if (inside) return p;
    }
    return -1;
  }

  const aspect = data.aspect;
  function fit() {
    const w = canvas.width, h = canvas.height;
    view.x = (left + right) / 2;
    view.y = (bottom + top) / 2;
    view.scale = 0.94 * Math.min(w / (right - left), h / ((top - bottom) * aspect));
  }
  const toScreen = (v, x, y) => [canvas.width / 2 + (x - v.x) * v.scale, canvas.height / 2 - (y - v.y) * v.scale * aspect];
  const toPlane = (px, py) => [view.x + (px - canvas.width / 2) / view.scale, view.y - (py - canvas.height / 2) / view.scale / aspect];

  const logs = area.reduce((range, a) => a > 0 ? [Math.min(range[0], Math.log(a)), Math.max(range[1], Math.log(a))] : range, [Infinity, -Infinity]);
  logs[0] = Math.max(logs[0], logs[1] - 18);
  const SHADES = 24;
  function fillOf(p) {
    if (fill === "class") return classOf[p];
    const share = (Math.log(Math.max(area[region[p]], 1e-300)) - logs[0]) / (logs[1] - logs[0] || 1);
    return Math.round(Math.min(1, Math.max(0, share)) * (SHADES - 1));
  }
  const colours = () => dark.matches ? data.colours.dark : data.colours.light;

  function visible() {
    const [x0, y1] = toPlane(0, 0), [x1, y0] = toPlane(canvas.width, canvas.height);
    const found = [];
    for (let p = 0; p < pieces; p++)
      if (box[4 * p] <= x1 && box[4 * p + 1] >= x0 && box[4 * p + 2] <= y1 && box[4 * p + 3] >= y0) found.push(p);
    return found;
  }

  const dotsPerPixel = () => window.devicePixelRatio || 1;
  const groupColour = (k) => fill === "class" ? colours().classes[k % colours().classes.length]
    : data.ramp[Math.round(k / (SHADES - 1) * (data.ramp.length - 1))];

  function draw() {
    waiting = 0;
    back.width = canvas.width; back.height = canvas.height;
    const g = back.getContext("2d"), palette = colours(), seen = visible();
    const sx = view.scale, sy = -view.scale * aspect;
    const at = { sx, sy, ox: canvas.width / 2 - view.x * sx, oy: canvas.height / 2 - view.y * sy };
    const lines = edges(seen);
    // a browser's paths take seconds for a hundred thousand polygons; plain pixels take a fraction of one
    if (seen.length > CROWD) paint(g, seen, lines, at, palette); else trace(g, seen, lines, at, palette);
    g.lineCap = "round";
    g.strokeStyle = palette.ink;
    g.lineWidth = 2.2 * dotsPerPixel();
    for (let k = 0; k < lines[layers].length; k += 2000) g.stroke(joined(lines[layers].slice(k, k + 2000), at));
    g.strokeStyle = palette.muted;
    g.lineWidth = dotsPerPixel();
    g.strokeRect(at.ox + sx * left, at.oy + sy * top, sx * (right - left), -sy * (top - bottom));
    drawnFor = { ...view };
    drawings++;
    show();
  }
  const CROWD = 2500;

  const after = (i) => i + 1 < start[owner[i] + 1] ? i + 1 : start[owner[i]];

  // the edges to draw, one list a layer and one for the decision boundary; of two polygons' common edge only one
  function edges(seen) {
    const inView = new Uint8Array(pieces), found = Array.from({ length: layers + 1 }, () => []);
    for (const p of seen) inView[p] = 1;
    for (const p of seen) {
      for (let i = start[p]; i < start[p + 1]; i++) {
        const other = beside[i];
        if (other >= 0 && owner[other] > p && inView[owner[other]]) continue;
        if (boundary && other >= 0 && classOf[p] !== classOf[owner[other]]) found[layers].push(i);
        if (layerOf[i] < layers && shown[layerOf[i]]) found[layerOf[i]].push(i);
      }
    }
    return found;
  }

  function joined(list, at) {
    const path = new Path2D();
    for (const i of list) {
      const v = 2 * loop[i], w = 2 * loop[after(i)];
      path.moveTo(at.ox + at.sx * xy[v], at.oy + at.sy * xy[v + 1]);
      path.lineTo(at.ox + at.sx * xy[w], at.oy + at.sy * xy[w + 1]);
    }
    return path;
  }

  const lineWidth = (l) => 1.5 - 0.8 * l / Math.max(1, layers - 1);

  function trace(g, seen, lines, at, palette) {
    if (fill !== "none") {
      for (const p of seen) {
        g.beginPath();
        for (let i = start[p]; i < start[p + 1]; i++) g.lineTo(at.ox + at.sx * xy[2 * loop[i]], at.oy + at.sy * xy[2 * loop[i] + 1]);
        g.closePath();
        g.fillStyle = g.strokeStyle = groupColour(fillOf(p));
        g.lineWidth = 0.7;
        g.fill();
        g.stroke();
      }
    }
    g.lineCap = "round";
    for (let l = layers - 1; l >= 0; l--) {
      g.strokeStyle = palette.layers[l];
      g.lineWidth = dotsPerPixel() * lineWidth(l);
      for (let k = 0; k < lines[l].length; k += 500) g.stroke(joined(lines[l].slice(k, k + 500), at));
    }
  }

  const channels = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

  function paint(g, seen, lines, at, palette) {
    const w = back.width, h = back.height, image = g.createImageData(w, h);
    const pixel = new Uint32Array(image.data.buffer), known = new Map();
    if (fill !== "none") {
      for (const p of seen) {
        const k = fillOf(p);
        if (!known.has(k)) {
          const [r, green, b] = channels(groupColour(k));
          known.set(k, (255 << 24 | b << 16 | green << 8 | r) >>> 0);
        }
        paintPolygon(pixel, w, h, p, at, known.get(k));
      }
    }
    const strength = Math.max(0.3, Math.min(1, Math.sqrt(12000 / seen.length)));
    for (let l = layers - 1; l >= 0; l--) {
      const colour = channels(palette.layers[l]);
      for (const i of lines[l]) {
        const v = 2 * loop[i], u = 2 * loop[after(i)];
        paintLine(image.data, w, h, at.ox + at.sx * xy[v], at.oy + at.sy * xy[v + 1],
          at.ox + at.sx * xy[u], at.oy + at.sy * xy[u + 1], colour, strength * Math.min(1, lineWidth(l)));
      }
    }
    g.putImageData(image, 0, 0);
  }

  // the pixels whose centres lie in a convex polygon, row by row
  function paintPolygon(pixel, w, h, p, at, colour) {
    const y0 = Math.max(0, Math.ceil(at.oy + at.sy * box[4 * p + 3] - 0.5));
    const y1 = Math.min(h - 1, Math.floor(at.oy + at.sy * box[4 * p + 2] - 0.5));
    for (let row = y0; row <= y1; row++) {
      const y = (row + 0.5 - at.oy) / at.sy;
      let low = Infinity, high = -Infinity;
      for (let i = start[p]; i < start[p + 1]; i++) {
        const v = 2 * loop[i], u = 2 * loop[i + 1 < start[p + 1] ? i + 1 : start[p]];
        const a = xy[v + 1] - y, b = xy[u + 1] - y;
        if ((a <= 0) === (b <= 0)) continue;
        const x = xy[v] + a / (a - b) * (xy[u] - xy[v]);
        if (x < low) low = x;
        if (x > high) high = x;
      }
      const from = Math.max(0, Math.ceil(at.ox + at.sx * low - 0.5)), to = Math.min(w - 1, Math.floor(at.ox + at.sx * high - 0.5));
      if (from <= to) pixel.fill(colour, row * w + from, row * w + to + 1);
    }
  }

  // a line one pixel wide, shared between the two pixels it runs between
  function paintLine(out, w, h, x0, y0, x1, y1, colour, strength) {
    const steep = Math.abs(y1 - y0) > Math.abs(x1 - x0);
    if (steep) [x0, y0, x1, y1, w, h] = [y0, x0, y1, x1, h, w];
    if (x0 > x1) [x0, y0, x1, y1] = [x1, y1, x0, y0];
    const slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : 0, width = steep ? h : w;
    for (let x = Math.max(0, Math.floor(x0)); x <= Math.min(w - 1, Math.floor(x1)); x++) {
      const covered = Math.min(x + 1, x1) - Math.max(x, x0);
      const y = y0 + slope * (Math.min(Math.max(x + 0.5, x0), x1) - x0) - 0.5, base = Math.floor(y);
      for (let k = 0; k < 2; k++) {
        const row = base + k, part = strength * covered * (k ? y - base : 1 - y + base);
        if (row < 0 || row >= h || part <= 0) continue;
        const o = 4 * (steep ? x * width + row : row * width + x);
        const old = out[o + 3] / 255;
        for (let c = 0; c < 3; c++) out[o + c] += (colour[c] - out[o + c]) * (old < 1 ? Math.max(part, 1 - old) : part);
        out[o + 3] = Math.max(out[o + 3], 255 * Math.min(1, old + part));
      }
    }
  }

  function show() {
    const g = canvas.getContext("2d");
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    if (drawnFor) {
      const k = view.scale / drawnFor.scale;
      const [x, y] = toScreen(view, drawnFor.x, drawnFor.y);
      g.drawImage(back, x - k * back.width / 2, y - k * back.height / 2, k * back.width, k * back.height);
    }
    outline(g, pinned, true);
    outline(g, hovered, false);
  }

  function outline(g, r, strong) {
    if (r < 0) return;
    const palette = colours();
    g.lineWidth = (strong ? 3 : 2) * (window.devicePixelRatio || 1);
    g.strokeStyle = strong ? palette.pinned : palette.hovered;
    for (let p = firstPiece(r); p < pieces && region[p] === r; p++) {
      g.beginPath();
      for (let i = start[p]; i < start[p + 1]; i++) {
        const other = beside[i];
        const inner = other >= 0 && region[owner[other]] === r;
        const [x, y] = toScreen(view, xy[2 * loop[i]], xy[2 * loop[i] + 1]);
        const j = i + 1 < start[p + 1] ? i + 1 : start[p];
        const [x1, y1] = toScreen(view, xy[2 * loop[j]], xy[2 * loop[j] + 1]);
        if (!inner) { g.moveTo(x, y); g.lineTo(x1, y1); }
      }
      g.stroke();
    }
  }

  function firstPiece(r) {
    let low = 0, high = pieces;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (region[middle] < r) low = middle + 1; else high = middle;
    }
    return low;
  }

  const soon = () => { if (!waiting) waiting = setTimeout(draw, 40); };
  const corners = () => {
    const [x0, y1] = toPlane(0, 0), [x1, y0] = toPlane(canvas.width, canvas.height);
    return [x0, x1, y0, y1];
  };
  const moved = () => { show(); soon(); };

  function zoom(factor, px = canvas.width / 2, py = canvas.height / 2) {
    const [x, y] = toPlane(px, py);
    view.scale *= factor;
    const [x1, y1] = toPlane(px, py);
    view.x += x - x1; view.y += y - y1;
    moved();
  }

  function differences(r, s) {
    if (!words) return null;
    const width = words.length / area.length;
    const found = [];
    let at = 0;
    for (const layer of data.layers) {
      const per = layer.words / layer.planes;
      let units = 0;
      for (let w = 0; w < per; w++) {
        let mixed = 0;
        for (let plane = 0; plane < layer.planes; plane++)
          mixed |= words[r * width + at + plane * per + w] ^ words[s * width + at + plane * per + w];
        for (mixed >>>= 0; mixed; mixed &= mixed - 1) units++;
      }
      found.push(units);
      at += layer.words;
    }
    return found;
  }

  const digits = (x) => x === 0 ? "0" : Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5 ? String(+x.toPrecision(4)) : x.toExponential(3);
  function rows(pairs) {
    const table = document.createElement("table");
    for (const [name, value] of pairs) {
      const row = table.insertRow(), head = document.createElement("th");
      head.scope = "row"; head.textContent = name;
      row.append(head);
      row.insertCell().textContent = value;
    }
    return table;
  }

  function nearestEdge(p, px, py) {
    let best = -1, gap = 6 * (window.devicePixelRatio || 1);
    for (let i = start[p]; i < start[p + 1]; i++) {
      const j = i + 1 < start[p + 1] ? i + 1 : start[p];
      const [x, y] = toScreen(view, xy[2 * loop[i]], xy[2 * loop[i] + 1]);
      const [x1, y1] = toScreen(view, xy[2 * loop[j]], xy[2 * loop[j] + 1]);
      const size = (x1 - x) ** 2 + (y1 - y) ** 2 || 1;
      const t = Math.min(1, Math.max(0, ((px - x) * (x1 - x) + (py - y) * (y1 - y)) / size));
      const d = Math.hypot(px - x - t * (x1 - x), py - y - t * (y1 - y));
      if (d < gap) { gap = d; best = i; }
    }
    return best;
  }

  function describe(p, px, py) {
    const before = hovered;
    hovered = p < 0 ? -1 : region[p];
    if (p < 0) { tip.hidden = true; if (before >= 0) show(); return; }
    const i = nearestEdge(p, px, py);
    const where = toPlane(px, py);
    const pairs = [
      ["region", hovered.toLocaleString("en")], ["area", digits(area[hovered])],
      ["class", data.class_names[classOf[p]] ?? classOf[p]], ["a, b", where.map(digits).join(", ")],
    ];
    if (i >= 0) pairs.push(["edge made by", naming(i)]);
    const parts = [rows(pairs)];
    if (pinned >= 0) {
      const found = differences(hovered, pinned), title = document.createElement("p");
      title.textContent = found === null ? "Patterns are left out of this page: there are too many."
        : `Units in another state than in region ${pinned.toLocaleString("en")}: ${found.reduce((a, b) => a + b, 0)}`;
      parts.push(title);
      if (found) parts.push(rows(found.map((n, l) => [data.layers[l].name, `${n} of ${data.layers[l].units}`])));
    } else {
      const hint = document.createElement("p");
      hint.className = "hint";
      hint.textContent = "Click to compare other regions with this one.";
      parts.push(hint);
    }
    about.replaceChildren(...parts);
    tip.hidden = false;
    tip.textContent = `region ${hovered.toLocaleString("en")}` + (i >= 0 ? ` · ${naming(i)}` : "");
    const dpr = window.devicePixelRatio || 1;
    tip.style.left = `${Math.min(px / dpr + 14, stage.clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${Math.max(4, py / dpr - 30)}px`;
    if (before !== hovered) show();
  }

  function naming(i) {
    if (layerOf[i] === SIDE) return "the rectangle's side";
    if (layerOf[i] === CLASS) return "a change of class";
    return `layer ${layerOf[i] + 1} (${data.layers[layerOf[i]].name}), unit ${unitOf[i]}`;
  }

  const place = (event) => {
    const r = canvas.getBoundingClientRect(), dpr = canvas.width / r.width;
    return [(event.clientX - r.left) * dpr, (event.clientY - r.top) * dpr];
  };
  const pressed = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, place(event));
    travelled = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = place(event);
    if (!pressed.has(event.pointerId)) { describe(pieceAt(...toPlane(px, py)), px, py); return; }
    const [ox, oy] = pressed.get(event.pointerId);
    if (pressed.size === 2) {
      const other = [...pressed].find(([id]) => id !== event.pointerId)[1];
      const factor = Math.hypot(px - other[0], py - other[1]) / Math.max(1, Math.hypot(ox - other[0], oy - other[1]));
      zoom(factor, other[0], other[1]);
    } else {
      view.x -= (px - ox) / view.scale;
      view.y += (py - oy) / view.scale / aspect;
      moved();
    }
    travelled += Math.hypot(px - ox, py - oy);
    pressed.set(event.pointerId, [px, py]);
  });
  canvas.addEventListener("pointerup", (event) => {
    pressed.delete(event.pointerId);
    if (travelled > 4) return;
    const [px, py] = place(event), p = pieceAt(...toPlane(px, py));
    pinned = p < 0 || region[p] === pinned ? -1 : region[p];
    describe(p, px, py);
    show();
  });
  canvas.addEventListener("pointercancel", (event) => pressed.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => describe(-1, 0, 0));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0015), ...place(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 60 / view.scale;
    const keys = {
      ArrowLeft: () => { view.x -= step; }, ArrowRight: () => { view.x += step; },
      ArrowUp: () => { view.y += step / aspect; }, ArrowDown: () => { view.y -= step / aspect; },
      "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: fit,
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
    moved();
  });
  document.getElementById("in").addEventListener("click", () => zoom(1.6));
  document.getElementById("out").addEventListener("click", () => zoom(1 / 1.6));
  document.getElementById("all").addEventListener("click", () => { fit(); moved(); });
  document.getElementById("fill").addEventListener("change", (event) => { fill = event.target.value; soon(); });
  document.getElementById("boundary").addEventListener("change", (event) => { boundary = event.target.checked; soon(); });
  for (const input of document.querySelectorAll("[data-layer]"))
    input.addEventListener("change", () => { shown[+input.dataset.layer] = input.checked; soon(); });
  dark.addEventListener("change", soon);

  new ResizeObserver(() => {
    const dpr = window.devicePixelRatio || 1, first = drawnFor === null;
    canvas.width = Math.round(stage.clientWidth * dpr);
    canvas.height = Math.round(stage.clientHeight * dpr);
    if (first) fit();
    draw();
  }).observe(stage);

  // what a test can look at
  window.netfold = { view, pieceAt, regionOf: (p) => region[p], toPlane, drawings: () => drawings, pinned: () => pinned, differences };
})();
