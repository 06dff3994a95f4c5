// curl -X POST 'http://127.0.0.1:8080/deploy?name=hello-js&lang=js' --data-binary @examples/js/hello.js
// and then: curl -i 'http://127.0.0.1:8080/fn/hello-js/world'
export default {
  async fetch(request, env, ctx) {
    const name = new URL(request.url).pathname.slice(1) || 'JavaScript';
    return new Response(`Hello from ${decodeURIComponent(name)}!\n`);
  },
};
