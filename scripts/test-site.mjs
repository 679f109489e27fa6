// `npm run test:site`: builds the site of the documents and opens it in a browser. With --install a
// missing one is installed first, where that is allowed. Other arguments go to jest.
import { testInBrowser } from './browser.mjs';
import { npm } from './ensure-built.mjs';

npm('run', '--silent', 'docs');
testInBrowser('jest.site.config.mjs', process.argv.slice(2));
