export async function POST(request) {
  const { text } = await request.json();
  if (typeof text !== 'string' || text === '') {
    return Response.json({ detail: 'text is needed.' }, { status: 400 });
  }
  const answer = await fetch(new URL('/publish/news', process.env.SPATE_URL), {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${process.env.AUTH_TOKEN}`,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ text, at: new Date().toISOString() }),
  });
  return new Response(answer.body, {
    status: answer.status,
    headers: { 'Content-Type': answer.headers.get('Content-Type') },
  });
}
