import { News } from './News.jsx';

export default function Page() {
  return (
    <main>
      <h1>News</h1>
      <News />
    </main>
  );
}
