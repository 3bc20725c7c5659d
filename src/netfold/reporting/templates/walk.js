"use strict";
(() => {
  const data = JSON.parse(document.getElementById("walk-data").textContent);
  const find = (id) => document.getElementById(id);
  const slider = find("walk-t"), text = find("walk-text"), cursor = find("walk-cursor"), canvas = find("walk-image");
  const t = data.t, last = t.length - 1;
  const flat = data.outputs.flat();
  const low = Math.min(0, ...flat), high = Math.max(0, ...flat), span = high - low || 1;

  const rows = data.names.map((name) => {
    const row = document.createElement("div"), label = document.createElement("span");
    const track = document.createElement("i"), bar = document.createElement("b"), value = document.createElement("span");
    label.textContent = name;
    track.append(bar);
    row.append(label, track, value);
    find("walk-bars").append(row);
    return { row, bar, value };
  });

  // Between two vertices every output is affine in t.
  const piece = (at) => {
    let a = 0, b = last;
    while (b - a > 1) { const m = (a + b) >> 1; if (t[m] <= at) a = m; else b = m; }
    return a;
  };

  const paint = (at) => {
    if (!canvas) return;
    const [height, width, channels] = data.image;
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext("2d"), picture = context.createImageData(width, height);
    const least = Math.min(...data.start, ...data.end), most = Math.max(...data.start, ...data.end);
    for (let p = 0; p < width * height; p++) {
      for (let c = 0; c < 3; c++) {
        const i = channels === 1 ? p : c * width * height + p;
        picture.data[4 * p + c] = 255 * ((1 - at) * data.start[i] + at * data.end[i] - least) / (most - least || 1);
      }
      picture.data[4 * p + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
  };

  const show = () => {
    const at = Number(slider.value), i = piece(at);
    const share = (at - t[i]) / (t[i + 1] - t[i]);
    const values = data.outputs[i].map((v, k) => (1 - share) * v + share * data.outputs[i + 1][k]);
    const top = values.indexOf(Math.max(...values));
    rows.forEach(({ row, bar, value }, k) => {
      const from = Math.min(0, values[k]), to = Math.max(0, values[k]);
      bar.style.left = `${100 * (from - low) / span}%`;
      bar.style.width = `${100 * (to - from) / span}%`;
      value.textContent = (Math.abs(values[k]) < 0.005 ? 0 : values[k]).toFixed(2).replace("-", "\u2212");
      row.className = data.several && k === top ? "top" : "";
    });
    cursor.setAttribute("d", `M${1000 * at} 0V36`);
    const region = data.thinned ? "" : ` · region ${i + 1} of ${data.breakpoints + 1}, ${(100 * (t[i + 1] - t[i])).toFixed(2)}% of the line`;
    const answer = data.several ? ` · class ${data.names[top]}` : ` · output ${values[0].toFixed(3)}`;
    text.textContent = `t = ${at.toFixed(3)}${region}${answer}`;
    paint(at);
  };

  // Steps land in the middle of the neighbouring region.
  const step = (by) => {
    const i = Math.min(Math.max(piece(Number(slider.value)) + by, 0), last - 1);
    slider.step = "any";
    slider.value = String((t[i] + t[i + 1]) / 2);
    show();
  };

  slider.addEventListener("input", show);
  find("walk-back").addEventListener("click", () => step(-1));
  find("walk-on").addEventListener("click", () => step(1));
  find("walk").hidden = false;
  show();
})();
