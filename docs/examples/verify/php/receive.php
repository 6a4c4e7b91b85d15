<?php
// Takes notifications of the gateway, and none that is not genuine. To try it:
//
//   WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:8080 receive.php
declare(strict_types=1);

const MAX_BODY = 1 << 20;
const TOLERANCE = 300; // seconds

// The body is the bytes as they came: the signature is over these, not over what
// they mean.
function genuine(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6), true) : false;
    if ($key === false || strlen($key) < 24) {
        throw new RuntimeException('WEBHOOK_SECRET: no secret');
    }
    if ($id === '' || !preg_match('/^[0-9]{1,12}\z/', $timestamp) || abs(time() - (int) $timestamp) > TOLERANCE) {
        return false;
    }
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    $found = false;
    foreach (explode(' ', $signatures) as $signature) { // two while the secret is changed
        $found = hash_equals($want, $signature) || $found; // in constant time
    }
    return $found;
}

function receive(): int
{
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        return 405;
    }
    $body = file_get_contents('php://input', false, null, 0, MAX_BODY + 1);
    if ($body === false || strlen($body) > MAX_BODY) {
        return 413;
    }
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    $signatures = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
    if (!genuine(getenv('WEBHOOK_SECRET') ?: '', $id, $timestamp, $signatures, $body)) {
        return 401;
    }
    $notification = json_decode($body, true, 32, JSON_THROW_ON_ERROR);
    // It is genuine. Store it under its webhook-id, which is unique, and answer;
    // work on it after that. One that is there already is a repeat: 204 as well.
    error_log($id . ' ' . $notification['type'] . ' ' . json_encode($notification['data']['request_id']));
    return 204;
}

ini_set('display_errors', '0');
http_response_code(500); // unless it comes to its end
http_response_code(receive());
