/* Numbers as a person reads them. */
export const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

export const whole = (value) => Math.round(value).toLocaleString('en');

export const percent = (share) => `${Math.round(share * 100)} %`;

export function bytesText(bytes) {
    const power = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
    return `${Number((bytes / 1000 ** power).toPrecision(3))} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

export function durationText(seconds) {
    const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
    return days > 0 ? `${days} d ${hours % 24} h` : hours > 0 ? `${hours} h ${minutes % 60} min`
        : minutes > 0 ? `${minutes} min` : `${seconds} s`;
}

/* A short time: one to three digits, and the unit that makes them so. */
export function timeText(ns) {
    if (ns === 0) {
        return '0';
    }
    const power = Math.min(3, Math.floor(Math.log10(Math.max(1, ns)) / 3));
    const value = ns / 1000 ** power;
    return `${value < 10 && power > 0 ? Number(value.toFixed(1)) : Math.round(value)} ${
        ['ns', 'µs', 'ms', 's'][power]}`;
}
