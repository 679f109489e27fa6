/**
 * Shows what a mark stands for, and lets one contestant stand out while the pointer is on its name
 * or line.
 */
export const script = `
const tip = document.getElementById('tip');
document.addEventListener('pointermove', (event) => {
  const mark = event.target.closest('[data-tip]');
  tip.style.opacity = mark ? 1 : 0;
  if (mark) {
    tip.textContent = mark.dataset.tip;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.min(event.clientX + 14, innerWidth - width - 8) + 'px';
    tip.style.top = Math.max(event.clientY - height - 12, 8) + 'px';
  }
  const who = event.target.closest('[data-who]')?.dataset.who;
  for (const section of document.querySelectorAll('section')) {
    const inside = who !== undefined && section.contains(event.target);
    section.classList.toggle('picking', inside);
    for (const item of section.querySelectorAll('[data-who]')) {
      item.classList.toggle('picked', inside && item.dataset.who === who);
    }
  }
});
`;
