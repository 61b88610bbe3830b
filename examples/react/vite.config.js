import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/* The hub is behind the same address as the page, as it would be behind nginx. */
const hub = {
  target: process.env.SPATE_URL ?? 'http://127.0.0.1:8080',
  configure: (proxy) => proxy.on('proxyRes', (answer, request, response) => {
    answer.on('error', () => response.destroy()); /* or a page would not notice that the hub is gone */
  }),
};

export default defineConfig({
  plugins: [react()],
  server: { proxy: { '/sse': hub, '/publish': hub } },
});
