// Bundled by make.sh into widgets.min.js: what shows ipywidgets in a frame, those
// of versions 7 and 8.
import { HTMLManager } from "@jupyter-widgets/html-manager/lib/htmlmanager.js";
import { put_buffers } from "@jupyter-widgets/base";
import "@fortawesome/fontawesome-free/css/fontawesome.min.css";
import "@fortawesome/fontawesome-free/css/solid.min.css";
import "@lumino/widgets/style/index.css";
import "@jupyter-widgets/controls/css/labvariables.css";
import "@jupyter-widgets/controls/css/widgets-base.css";

window.quireWidgets = { HTMLManager, putBuffers: put_buffers };
