// curl -X POST 'http://127.0.0.1:8080/deploy?name=echo-js&lang=js' --data-binary @examples/js/echo.js
export default {
  async fetch(request) {
    const type = request.headers.get('content-type') ?? 'application/octet-stream';
    return new Response(await request.arrayBuffer(), { headers: { 'content-type': type } });
  },
};
