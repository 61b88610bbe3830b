import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Channel } from './Channel.jsx';

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <h1>Spate</h1>
    <Channel name="news" />
    <Channel name="weather" />
  </StrictMode>,
);
