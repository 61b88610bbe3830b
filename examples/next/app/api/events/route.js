export const dynamic = 'force-dynamic';

export async function GET(request) {
  const headers = { Accept: 'text/event-stream' };
  const lastId = request.headers.get('Last-Event-ID');
  if (lastId !== null) {
    headers['Last-Event-ID'] = lastId;
  }
  const url = new URL('/sse/news', process.env.SPATE_URL);
  url.search = new URL(request.url).search;
  const stream = await fetch(url, { headers, cache: 'no-store', signal: request.signal });
  return new Response(stream.body, {
    status: stream.status,
    headers: {
      'Content-Type': stream.headers.get('Content-Type'),
      'Cache-Control': 'no-cache, no-transform', /* or Next.js would compress, and hold events back */
    },
  });
}
